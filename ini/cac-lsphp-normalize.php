<?php
// The front end names files as it sees them, below /mnt/users/<user>/<domain>, which is a link to
// the site's home. Scripts shall see the home, byte for byte what PHP-FPM gave them: only the link
// is resolved, links of the site's own stay. Nothing is defined, so nothing stays behind.
(static function (): void {
    foreach (['DOCUMENT_ROOT', 'SCRIPT_FILENAME'] as $name) {
        $path = $_SERVER[$name] ?? null;
        if (!is_string($path) || strncmp($path, '/mnt/users/', 11) !== 0) {
            continue;
        }
        $domain = strpos($path, '/', 11);
        if ($domain === false) {
            continue;
        }
        $end = strpos($path, '/', $domain + 1);
        $link = $end === false ? $path : substr($path, 0, $end);
        $home = realpath($link);
        if ($home !== false && $home !== $link && realpath($path) !== false) {
            $_SERVER[$name] = $end === false ? $home : $home . substr($path, $end);
        }
    }
})();
