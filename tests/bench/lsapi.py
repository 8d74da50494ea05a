"""The smallest LSAPI client: one GET over one connection, without a process of its own that would take time."""
import socket
import struct

RESP_STREAM, RESP_END = 4, 5


def begin_request(script, root, more):
    """A packet with the variables that lsphp cannot do without, some `more`, and no header lines."""
    variables = {'SCRIPT_FILENAME': script, 'SCRIPT_NAME': script.removeprefix(root), 'QUERY_STRING': '',
                 'REQUEST_METHOD': 'GET', 'DOCUMENT_ROOT': root, **more}
    block, values = bytes(4), []  # no special ones, and then these
    for name, value in variables.items():
        block += struct.pack('>HH', len(name) + 1, len(value) + 1) + name.encode() + b'\0'
        values.append(44 + len(block))
        block += value.encode() + b'\0'
    block += bytes(4)
    block += bytes(-(44 + len(block)) % 8)
    block += bytes(25 * 2 + 2 + 25 * 4)  # the header index
    return struct.pack('<2sBBi9i', b'LS', 1, 0, 44 + len(block), 0, 0, *values[:4], 0, len(variables), 0) + block


def body_of(address, script, root, timeout, more={}):
    """What PHP answers, which sees `more` in $_SERVER; an OSError if there is no answer."""
    with socket.create_connection(address, timeout) as connection:
        return ask(connection, script, root, more)


def ask(connection, script, root, more={}):
    """The same over a connection that is open."""
    connection.sendall(begin_request(script, root, more))
    with connection.makefile('rb') as answer:
        body = b''
        while len(head := answer.read(8)) == 8:
            _, kind, _, length = struct.unpack('<2sBBi', head)
            payload = answer.read(length - 8)
            if kind == RESP_STREAM:
                body += payload
            elif kind == RESP_END:
                return body
    raise ConnectionError('lsphp closed the connection within its answer')
