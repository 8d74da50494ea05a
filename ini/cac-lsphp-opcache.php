<?php
// What `cac-lsphp opcache` asks for: what opcache says of itself, as one line. With ?reset whoever asks for a script
// that it holds compiles it anew. That is not opcache_reset(): until every request that runs has ended opcache would
// hold nothing, not even the normaliser, and a site whose .user.ini has an open_basedir would fail every page.
// What was preloaded stays, as its functions and classes do.
(static function (): void {
    $answer = ['php' => PHP_VERSION, 'reset' => null, 'status' => null];
    if (!function_exists('opcache_get_status') || !function_exists('opcache_invalidate')) {
        $answer['missing'] = true;
    } elseif ($_SERVER['QUERY_STRING'] === 'reset') {
        $held = @opcache_get_status() ?: [];
        $scripts = array_diff_key($held['scripts'] ?? [], array_flip($held['preload_statistics']['scripts'] ?? []));
        $answer['reset'] = count(array_filter(array_keys($scripts), static fn ($script) => opcache_invalidate($script, true)));
    }
    if (!isset($answer['missing']) && $status = @opcache_get_status(false)) {
        unset($status['preload_statistics'], $status['jit']);
        $answer['status'] = $status;
    }
    echo 'cac-lsphp opcache: ', json_encode($answer), "\n";
})();
