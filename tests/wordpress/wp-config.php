<?php
// As an installation writes it that knows one path only: everything is absolute and below the home.
define('DB_NAME', 'wordpress');
define('DB_USER', 'alice');
define('DB_PASSWORD', 'secret');
define('DB_HOST', 'db');
define('DB_CHARSET', 'utf8mb4');
define('DB_COLLATE', '');
foreach (['AUTH', 'SECURE_AUTH', 'LOGGED_IN', 'NONCE'] as $kind) {
    define("{$kind}_KEY", md5("$kind key of a proof"));
    define("{$kind}_SALT", md5("$kind salt of a proof"));
}
$table_prefix = 'wp_';
defined('ABSPATH') || define('ABSPATH', '/home/alice/public_html/');
define('WP_CONTENT_DIR', '/home/alice/public_html/wp-content');
define('WP_TEMP_DIR', '/tmp');
define('WP_DEBUG_LOG', '/home/alice/logs/wordpress.log');
define('DISABLE_WP_CRON', true); // it is run by cac-lsphp exec
define('WP_HTTP_BLOCK_EXTERNAL', true);
require_once ABSPATH . 'wp-settings.php';
