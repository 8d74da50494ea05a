<?php
// A must-use plugin: tells which paths WordPress sees, schedules an event that leaves a mark, and waits as a plugin
// does that calls another host.
add_action('init', static function (): void {
    if (!wp_installing() && !wp_next_scheduled('prove_cron')) {
        wp_schedule_single_event(time() - 1, 'prove_cron');
    }
    if (isset($_GET['wait'])) {
        sleep(1);
    }
    if (isset($_GET['prove'])) {
        wp_send_json([
            'document_root' => $_SERVER['DOCUMENT_ROOT'],
            'script' => $_SERVER['SCRIPT_FILENAME'],
            'file' => __FILE__,
            'uploads' => wp_upload_dir()['basedir'],
            'upload_max_filesize' => ini_get('upload_max_filesize'),
            'uid' => posix_getuid(),
        ], 200, JSON_UNESCAPED_SLASHES);
    }
});
add_action('prove_cron', static function (): void {
    file_put_contents('/home/alice/cron', posix_getuid() . ' ' . PHP_SAPI . ' ' . __FILE__ . "\n");
});
