"""How lsphp answers: each function is a scenario, and returns what it saw as plain data without pids or times."""
import base64
import os
import re
import socket
import subprocess
import time

from lab import NOBODY, within
from lsapi import begin_request

DUMP = '''<?php unset($_SERVER["REQUEST_TIME"], $_SERVER["REQUEST_TIME_FLOAT"]);
echo json_encode(["server" => $_SERVER, "headers" => getallheaders(), "apache" => apache_request_headers(), "get" => $_GET,
 "post" => $_POST, "cookie" => $_COOKIE, "cwd" => getcwd(), "file" => __FILE__, "sapi" => PHP_SAPI, "env" => getenv(),
 "path" => getenv("PATH"), "http" => getenv("HTTP_HOST"), "root" => getenv("DOCUMENT_ROOT"),
 "files" => array_map(fn($f) => [$f["name"], $f["size"], $f["error"]], $_FILES), "argv" => $argv ?? null],
 JSON_PRETTY_PRINT | JSON_UNESCAPED_SLASHES | JSON_INVALID_UTF8_SUBSTITUTE);'''
HEADERS = [('Host', 'example.com'), ('X-Some-Header', 'a, b'), ('Cookie', 'a=1; b=%202'), ('Accept', '*/*'),
           ('Authorization', 'Basic ' + base64.b64encode(b'joe:secret').decode()), ('X-Twice', '1'), ('X-Twice', '2'),
           ('Transfer-Encoding', 'chunked'), ('Via', '1.1 front'), ('X-Under_score', 'u'), ('X-Empty', ''), ('X-' + 'n' * 300, 'long')]


def globals_and_headers(lab):
    script = lab.script('www/dump.php', DUMP)
    lab.start(LSAPI_CHILDREN='3', SITE_VARIABLE='kept', HTTP_HOST='from-process')
    env = [('SERVER_NAME', 'example.com'), ('HTTPS', 'on'), ('EMPTY', ''), ('PATH', '/from/front/end')]
    return [lab.ask(script, query='a=1&b[]=2&c=%C3%A9', headers=HEADERS, env=env), lab.ask(script, big=True, headers=HEADERS),
            lab.ask(script)]


def request_bodies(lab):
    script = lab.script('body.php', '<?php $b = file_get_contents("php://input"); echo strlen($b), " ", md5($b);')
    dump = lab.script('dump.php', DUMP)
    lab.start(LSAPI_CHILDREN='3')
    connection, seen = lab.connect(), []
    for size in (0, 1, 8148, 8192, 65536, 3_000_000):
        body = bytes(range(256)) * (size // 256 + 1)
        for declared in (size, -2):
            headers = [('Content-Type', 'text/plain'), ('Content-Length', str(size))]
            seen.append(connection.request(script, lab.home, method='POST', headers=headers, body=body[:size], declared=declared))
    form = [('Content-Type', 'application/x-www-form-urlencoded')]
    seen.append(connection.request(dump, lab.home, method='POST', headers=form, body=b'x=1&y[k]=%00z'))
    part = b'--B\r\nContent-Disposition: form-data; name="f"; filename="n.txt"\r\n\r\n' + b'z' * 100_000 + b'\r\n--B--\r\n'
    upload = [('Content-Type', 'multipart/form-data; boundary=B')]
    seen.append(connection.request(dump, lab.home, method='POST', headers=upload, body=part))
    unread = lab.script('unread.php', '<?php echo 1;')
    seen += [connection.request(unread, lab.home, method='POST', body=b'u' * 500_000), connection.request(unread, lab.home)]
    return seen


def responses(lab):
    scripts = ['', 'header("X-A: 1"); header("Set-Cookie: a=1", false); header("Set-Cookie: b=2", false); echo "x";',
               'http_response_code(404); echo "no";', 'header("HTTP/1.1 299 Odd"); echo 1;', 'header("Location: /x"); exit;',
               'header("HTTP/1.1 304 Not Modified");', 'header("Status: 503 Busy"); echo 2;', 'header_remove("Content-type"); echo 1;',
               'ini_set("default_charset", ""); ini_set("default_mimetype", ""); echo 3;', 'header("X-Long: " . str_repeat("l", 32760));',
               'header("X-Long: " . str_repeat("l", 33000)); echo 4;', 'for ($i = 0; $i < 1100; $i++) header("X-$i: 1"); echo 5;',
               'for ($i = 0; $i < 3; $i++) { echo $i; flush(); }', 'flush(); echo 6;', 'echo str_repeat("b", 8191);',
               'echo str_repeat("b", 8192);', 'echo "head"; echo str_repeat("b", 100000);', 'ob_start(); echo 1; header("X-Late: 1");',
               'echo implode("|", array_keys(apache_response_headers()));', 'setcookie("c", "v"); print_r(litespeed_response_headers());',
               'echo http_response_code(), connection_status();', 'echo 1; throw new Exception("boom");', 'exit(7);', 'syntax error here',
               'error_log("to the log"); echo 1; error_log("again"); echo 2;', 'trigger_error("w", E_USER_WARNING);',
               'echo str_repeat("b", 5000); error_log("between"); echo 3;', 'error_log(str_repeat("L", 8000) . "end");',
               'fwrite(STDOUT ?? null, "x");', 'file_put_contents("php://stdout", "out\\n"); file_put_contents("php://stderr", "err\\n");',
               'register_shutdown_function(function () { echo "bye"; }); echo "hi";', 'echo ini_get("auto_prepend_file"), getcwd();']
    paths = [lab.script(f'r{i}.php', '<?php ' + text) for i, text in enumerate(scripts)] + [f'{lab.home}/missing.php', lab.home]
    lab.script('prepend.php', '<?php echo "[prepended]";')
    lab.start(LSAPI_CHILDREN='3')
    connection = lab.connect()
    seen = [(text, connection.request(path, lab.home)) for text, path in zip(scripts + ['missing', 'directory'], paths)]
    seen.append(connection.request(paths[1], lab.home, method='HEAD'))
    prepend = [(b'\x01\x04auto_prepend_file', f'{lab.home}/prepend.php'), (b'\x01\x04output_buffering', '4096')]
    seen.append(connection.request(paths[1], lab.home, special=prepend))
    return seen, lab.log()


def special_settings(lab):
    script = lab.script('ini.php', '''<?php $was = array_map("ini_get", ["memory_limit", "precision", "error_log", "open_basedir"]);
        echo json_encode([$was, ini_set("memory_limit", "64M"), ini_get("memory_limit"), ini_set("precision", "5"), ini_get("precision")]);''')
    lab.start(LSAPI_CHILDREN='3')
    connection = lab.connect()
    kinds = [[(b'\x01\x04memory_limit', '99M')], [(b'\x01\x04open_basedir', lab.home), (b'\x01\x04error_log', '/tmp/x y;"$')],
             [(b'\x01\x05precision', '9')], [(b'\x01\x05open_basedir', lab.home)], [(b'\x01\x01memory_limit', '98M')], [('precision', '3')],
             [(b'\x01\x04engine', '0')], [(b'\x01\x04engine', '1')], [(b'\x01\x04nonsense', '1')], []]
    return [connection.request(script, lab.home, special=kind) for kind in kinds]


def user_ini(lab):
    script = lab.script('www/a/b/show.php', '<?php echo ini_get("precision"), " ", ini_get("memory_limit"), " ", ini_get("user_ini.filename");')
    outside = lab.script('other/show.php', '<?php echo ini_get("precision");')
    for path, text in (('.user.ini', 'precision=1'), ('www/.user.ini', 'precision=2\nmemory_limit=77M'), ('www/a/b/.user.ini', 'precision=4'),
                       ('other/.user.ini', 'precision=5')):
        lab.script(path, text)
    seen = []
    for value in ('on', 'ON', 'off', '1', None):
        for env_root in (f'{lab.home}/www', f'{lab.home}/www/', f'{lab.home}/www/a', '/elsewhere', ''):
            lab.start(LSAPI_CHILDREN='3', **({'LSPHP_ENABLE_USER_INI': value} if value else {}))  # a worker remembers the files
            connection = lab.connect()
            seen.append((value, env_root, connection.request(script, env_root)['body'], connection.request(outside, env_root)['body']))
            connection.close()
    return seen


def finish_request(lab):
    done = f'{lab.home}/done'
    script = lab.script('finish.php', f'''<?php header("X-A: 1"); echo "sent"; $r = litespeed_finish_request(); echo "lost"; error_log("after");
        usleep(200000); file_put_contents("{done}", var_export([$r, litespeed_finish_request(), connection_status(), headers_sent()], true));''')
    empty = lab.script('empty.php', '<?php litespeed_finish_request(); echo "lost";')
    lab.start(LSAPI_CHILDREN='3')
    connection = lab.connect()
    first = connection.request(script, lab.home)
    early = not os.path.exists(done)
    rest = [connection.packet(), connection.packet()]
    late = within(2, lambda: os.path.exists(done) and os.path.getsize(done) > 0)
    again = lab.connect()
    return first, early, rest, late, open(done).read(), again.request(empty, lab.home), again.packet(), again.packet(), lab.log()


def nonsense(lab):
    script = lab.script('ok.php', '<?php echo "ok";')
    lab.start(LSAPI_CHILDREN='3')
    good = begin_request([('SCRIPT_FILENAME', script), ('SCRIPT_NAME', '/'), ('QUERY_STRING', ''), ('REQUEST_METHOD', 'GET')], HEADERS[:2])
    bad_offset = good[:16] + b'\xff\xff\xff\x7f' + good[20:]
    cases = {'magic': b'XX' + good[2:], 'type': good[:2] + b'\x05' + good[3:], 'length': good[:4] + b'\xff\xff\xff\x7f' + good[8:],
             'longer than 65535': good[:4] + b'\x00\x00\x02\x00' + good[8:], 'offset': bad_offset, 'env count': good[:36] + b'\x09\x00\x00\x00' + good[40:],
             'http': b'GET / HTTP/1.0\r\n\r\n' * 10, 'header length': good[:8] + b'\x00\x10\x00\x00' + good[12:]}
    seen = {}
    for name, data in cases.items():
        connection = lab.connect(timeout=2)
        connection.socket.sendall(data)
        try:
            seen[name] = [p for p in connection.response()['packets'] if p != 'PID']
        except TimeoutError:
            seen[name] = 'no answer'
        connection.close()
        time.sleep(0.05)
    cut = lab.connect()
    cut.socket.sendall(good[:60])
    cut.socket.shutdown(socket.SHUT_WR)
    return seen, cut.response()['packets'], lab.ask(script)['body']


def opcache(lab):
    script = lab.script('op.php', '<?php $s = opcache_get_status(); echo json_encode([array_keys($s["scripts"]), $s["scripts"][__FILE__]["hits"], ini_get("opcache.max_accelerated_files")]);')
    lab.script('ini/z.ini', 'opcache.memory_consumption=64\nopcache.max_accelerated_files=8000\nopcache.file_update_protection=0\n')
    lab.start(LSAPI_CHILDREN='3', PHP_INI_SCAN_DIR=f':{lab.home}/ini')
    clients = [lab.connect() for _ in range(3)]
    seen = [c.request(script, lab.home)['body'] for c in clients for _ in range(2)]
    return seen, len(lab.workers())


def client_leaves(lab):
    done = f'{lab.home}/done'
    text = '''<?php ignore_user_abort((bool)$_GET["keep"]); register_shutdown_function(fn() => file_put_contents("%s", connection_status() . "|", FILE_APPEND));
        for ($i = 0; $i < 200; $i++) { echo str_repeat("x", (int)$_GET["size"]); flush(); usleep(1000); } file_put_contents("%s", "finished ", FILE_APPEND);'''
    script, ok = lab.script('big.php', text % (done, done)), lab.script('ok.php', '<?php echo "ok";')
    lab.start(LSAPI_CHILDREN='3')
    seen = []
    for query in ('keep=0&size=100000', 'keep=1&size=100000', 'keep=0&size=100', 'keep=1&size=100'):
        client = lab.connect()
        client.send(script, lab.home, query=query)
        client.packet()
        client.close()
        within(5, lambda: os.path.exists(done) and '|' in open(done).read())
        seen.append(open(done).read())
        os.unlink(done)
    return seen, lab.ask(ok)['body'], len(lab.workers()), lab.log()


def command_line(lab):
    script = lab.script('cli.php', '<?php echo PHP_SAPI, json_encode($argv), ini_get("display_errors"), getcwd(), getenv("X"), "\\n"; fwrite(STDERR ?? null, "e"); exit(3);')
    args = lab.script('args.php', '<?php echo json_encode([$argc, $argv, $_SERVER["X"], PHP_SAPI, ini_get("precision")]); exit(3);')
    ini = lab.script('php.ini', 'precision=7\n')
    seen = []
    for arguments in (['-v'], [script, 'a'], [args, '-x', 'b'], ['-c', ini, args], ['-c', lab.home, args], [f'{lab.home}/none.php']):
        result = subprocess.run([lab.binary, *arguments], capture_output=True, text=True, env={'X': 'y', 'PATH': '/bin'}, timeout=5, cwd='/', **NOBODY)
        seen.append((arguments, result.returncode, re.sub(r'\(built.*', '', result.stdout), result.stderr))
    return seen
