"""Reads rows as JSON lines, prints them as a table, writes them to a file; fails if a limit is missed."""
import json
import sys

# Limits that were set before anything was measured, and what stands in their way.
KNOWN = {
    ('system calls of a boot', 'the promise'):
        'about 30 are made before main by libc and Rust, 14 drop a capability each, 60 open and close what is read and '
        'made, each once; closing with the process and skipping the read that finds a file\'s end would save 40',
    ('200 idle sites, CPU in 30 s', '200 plain lsphp'):
        'nothing of ours is there to run; the same lsphp differs from itself by 5 to 20 % from run to run',
    ('healthcheck, CPU', 'bash TCP check'):
        'starting /bin/true alone costs half of what bash costs; see the next rows',
    ('healthcheck, wall', 'bash TCP check'): 'the same',
    ('normaliser a request', 'its budget of 20 µs'):
        '12 to 23 µs from run to run on a virtual machine of 2 cores; half of it is PHP building $_SERVER',
    ('an empty page', 'without the normaliser'):
        'an empty file to prepend costs 2 % already, and PHP building $_SERVER, which every page that looks at its '
        'request has it do, another 10 %',
}


def judge(row):
    if row['limit'] is None:
        return '', 'to compare'
    return f'{row["limit"]:.3f}', 'reached' if row['ratio'] <= row['limit'] else 'MISSED'


def main():
    rows = [json.loads(line) for line in sys.stdin]
    with open(sys.argv[1], 'w') as file:
        json.dump(rows, file, indent=1)
    form = '{:<32} {:<28} {:>10} {:>10} {:<5} {:>7} {:>7}  {}'
    print(form.format('row', 'yardstick', 'ours', 'yardstick', '', 'ratio', 'limit', ''))
    missed = 0
    for row in rows:
        limit, verdict = judge(row)
        missed += verdict == 'MISSED'
        numbers = [f'{row[key]:.2f}' for key in ('ours', 'theirs')]
        print(form.format(row['name'], row['yardstick'], *numbers, row['unit'], f'{row["ratio"]:.3f}', limit, verdict))
        if verdict == 'MISSED' and (row['name'], row['yardstick']) in KNOWN:
            print(f"{'':<4}known: {KNOWN[row['name'], row['yardstick']]}")
    sys.exit(1 if missed or not rows else 0)


main()
