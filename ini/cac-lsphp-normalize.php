<?php
// The front end names files as it sees them, below the site's link in /mnt/users. Scripts shall see the
// home, byte for byte what PHP-FPM gave them: only the link is resolved, links of the site's own stay. Its
// two ends are written here at every start, so that neither open_basedir nor disable_functions is in the
// way. Nothing is defined, so nothing stays behind.
(static function (): void {
    foreach (['DOCUMENT_ROOT', 'SCRIPT_FILENAME'] as $name) {
        $path = $_SERVER[$name] ?? null;
        if (is_string($path) && strncmp("$path/", '@LINK@/', @LENGTH@) === 0) {
            $_SERVER[$name] = '@HOME@' . substr($path, @LENGTH@ - 1);
        }
    }
})();
