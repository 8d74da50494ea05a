"""Reads rows as JSON lines, prints them as a table, writes them to a file; fails if a limit is missed."""
import json
import sys

FORM = '{:<36} {:<32} {:>10} {:>10} {:<5} {:>7} {:>7}  {}'


def judge(row):
    """What is printed of a row's limit, and whether it holds."""
    ratio, limit = row['ratio'], row['limit']
    if limit is None:
        return '', 'to compare', True
    if ratio <= limit:
        return f'{limit:.3f}', 'reached', True
    if row['instead'] and ratio <= row['instead']['held']:
        return f'{limit:.3f}', f'not reached, {row["instead"]["held"]} held: {row["instead"]["why"]}', True
    return f'{limit:.3f}', 'MISSED', False


def main():
    rows = [json.loads(line) for line in sys.stdin]
    with open(sys.argv[1], 'w') as file:
        json.dump(rows, file, indent=1)
    print(FORM.format('row', 'yardstick', 'ours', 'yardstick', '', 'ratio', 'limit', ''))
    missed = 0
    for row in rows:
        limit, verdict, holds = judge(row)
        missed += not holds
        numbers = [f'{row[key]:.2f}' for key in ('ours', 'theirs')]
        print(FORM.format(row['name'], row['yardstick'], *numbers, row['unit'], f'{row["ratio"]:.3f}', limit, verdict))
    sys.exit(1 if missed or not rows else 0)


main()
