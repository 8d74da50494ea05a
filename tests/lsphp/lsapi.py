"""A small LSAPI client for comparing two lsphp binaries: it shows every packet, which a real client hides."""
import socket
import struct

KNOWN = ['accept', 'accept-charset', 'accept-encoding', 'accept-language', 'authorization', 'connection', 'content-type',
         'content-length', 'cookie', 'cookie2', 'host', 'pragma', 'referer', 'user-agent', 'cache-control',
         'if-modified-since', 'if-match', 'if-none-match', 'if-range', 'if-unmodified-since', 'keep-alive', 'range',
         'x-forwarded-for', 'via', 'transfer-encoding']
NAMES = {3: 'HEADER', 4: 'STREAM', 5: 'END', 6: 'STDERR', 7: 'RECEIVED', 8: 'CLOSE', 9: 'ERROR'}


def entries(pairs):
    """Variables as the packet has them, and where each value lies in the result."""
    out, places = b'', {}
    for key, value in pairs:
        key, value = [v if isinstance(v, bytes) else v.encode() for v in (key, value)]
        out += struct.pack('>HH', len(key) + 1, len(value) + 1) + key + b'\0'
        places[key] = len(out)
        out += value + b'\0'
    return out + b'\0' * 4, places


def begin_request(env, headers=(), special=(), body_length=0, big=False):
    order = '>' if big else '<'
    block, index, unknown = b'', [(0, 0)] * 25, b''
    for name, value in headers:
        start = len(block) + len(name) + 2
        if name.lower() in KNOWN:
            index[KNOWN.index(name.lower())] = (start, len(value))
        else:
            unknown += struct.pack(order + '4i', len(block), len(name), start, len(value))
        block += f'{name}: {value}\r\n'.encode()
    specials, _ = entries(special)
    variables, places = entries(env)
    at = 44 + len(specials)
    offsets = [at + places[k] for k in (b'SCRIPT_FILENAME', b'SCRIPT_NAME', b'QUERY_STRING', b'REQUEST_METHOD')]
    body = specials + variables
    body += b'\0' * (-(44 + len(body)) % 8)
    body += struct.pack(order + '25H2x25i', *[n for _, n in index], *[o for o, _ in index]) + unknown + block
    return struct.pack(f'{order}2sBBi9i', b'LS', 1, int(big), 44 + len(body), len(block), body_length, *offsets,
                       len(unknown) // 16, len(env), len(special)) + body


class Connection:
    def __init__(self, address, timeout=10):
        self.pid = None
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout)

    def read(self, size):
        data = b''
        while len(data) < size:
            part = self.socket.recv(size - len(data))
            if not part:
                return None
            data += part
        return data

    def packet(self):
        """(type, body), or None at the end of the connection."""
        try:
            head = self.read(8)
        except ConnectionResetError:
            return None
        if head is None:
            return None
        magic, kind, _, length = struct.unpack('<2sBBi', head)
        assert magic == b'LS' and length >= 8, head
        return kind, self.read(length - 8)

    def send(self, script, root, query='', method='GET', headers=(), env=(), special=(), body=b'', declared=None, big=False):
        variables = [('DOCUMENT_ROOT', root), ('SCRIPT_FILENAME', script), ('SCRIPT_NAME', '/' + script.rsplit('/')[-1]),
                     ('QUERY_STRING', query), ('REQUEST_METHOD', method), *env]
        packet = begin_request(variables, headers, special, len(body) if declared is None else declared, big)
        self.socket.sendall(packet + body)

    def response(self):
        """Everything up to RESP_END or the end of the connection; the pid packet of a fresh worker goes to self.pid."""
        answer = {'packets': [], 'status': None, 'headers': [], 'body': b'', 'stderr': b''}
        while (packet := self.packet()) is not None:
            kind, data = packet
            if kind == 6 and data[:4] == b'\0PID':
                self.pid = struct.unpack('<i', data[4:])[0]
                answer['packets'].append('PID')
                continue
            answer['packets'].append(f'{NAMES.get(kind, kind)} {len(data)}')
            if kind == 3:
                count, answer['status'] = struct.unpack_from('<2i', data)
                lengths, at = struct.unpack_from(f'<{count}H', data, 8), 8 + 2 * count
                for n in lengths:
                    answer['headers'].append(data[at:at + n].rstrip(b'\0').decode('latin-1'))
                    at += n
                assert at == len(data)
            elif kind == 4:
                answer['body'] += data
            elif kind == 6:
                answer['stderr'] += data
            elif kind == 5:
                break
        return answer

    def request(self, *args, **kwargs):
        self.send(*args, **kwargs)
        return self.response()

    def close(self):
        self.socket.close()
