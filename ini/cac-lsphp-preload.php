<?php
// PHP runs this once, when lsphp starts (opcache.preload). With the normaliser compiled already, PHP does not
// open it for a request, and so an open_basedir that a .user.ini sets cannot shut it out.
try {
    opcache_compile_file('@NORMALISER@');
} catch (Error) {
    // The site has disabled the function: then its open_basedir, if it has one, must let the file be opened.
}
// What opcache's file cache holds is of one version of PHP, but not of one build: PHP answers extension_loaded() and
// function_exists() once, when it compiles. So what another build has left is removed.
try {
    (static function (string $cache): void {
        if ($cache === '') {
            return;
        }
        $extensions = array_map(static fn (string $name): string => $name . phpversion($name), get_loaded_extensions());
        sort($extensions);
        $build = md5(PHP_VERSION . implode(' ', $extensions));
        if (@file_get_contents("$cache/cac-lsphp-build") === $build) {
            return;
        }
        $closed = RecursiveIteratorIterator::CATCH_GET_CHILD; // somebody else's directory stays
        foreach (array_filter(glob("$cache/" . str_repeat('[0-9a-f]', 32), GLOB_ONLYDIR), 'is_readable') as $old) {
            $inner = new RecursiveDirectoryIterator($old, FilesystemIterator::SKIP_DOTS);
            foreach (new RecursiveIteratorIterator($inner, RecursiveIteratorIterator::CHILD_FIRST, $closed) as $file) {
                if ($file->isDir() && !$file->isLink()) {
                    @rmdir($file->getPathname());
                } elseif ($file->getExtension() === 'bin') {
                    @unlink($file->getPathname());
                }
            }
            @rmdir($old);
        }
        @file_put_contents("$cache/cac-lsphp-build", $build);
    })((string) ini_get('opcache.file_cache'));
} catch (Throwable) {
    // The site has disabled a function, or keeps PHP from the directory.
}
