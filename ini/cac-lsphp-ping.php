<?php
// What `cac-lsphp healthcheck --deep` asks for: the shortest way through PHP and back.
echo 'cac-lsphp ping: PHP ', PHP_VERSION, "\n";
// No page's .user.ini counts for this script. Where opcache is off, an open_basedir in it that leaves out this
// directory fails every page, and that is said here.
(static function (): void {
    $file = getenv('HOME') . '/public_html/.user.ini';
    $ini = @is_file($file) ? @parse_ini_string(@file_get_contents($file, false, null, 0, 65536)) : false;
    $basedir = $ini['open_basedir'] ?? '';
    $opcache = $ini['opcache.enable'] ?? ini_get('opcache.enable');
    if (!$basedir || ($opcache && function_exists('opcache_compile_file'))) {
        return;
    }
    foreach (explode(':', $basedir) as $directory) {
        if ($directory !== '' && strncmp('/run/cac-lsphp/', rtrim($directory, '/') . '/', strlen(rtrim($directory, '/')) + 1) === 0) {
            return;
        }
    }
    echo "shut out\n";
})();
