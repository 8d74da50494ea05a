"""Reads rows as JSON lines, prints them as a table, writes them to a file; fails if a limit is missed."""
import json
import sys

FORM = '{:<36} {:<32} {:>10} {:>10} {:<5} {:>7} {:>7}  {}'


def judge(row):
    """What is printed of a row's limit, and whether it holds."""
    ratio, limit, at_least = row['ratio'], row['limit'], row['at_least']
    if limit is None and at_least is None:
        return '', 'to compare', True

    def holds(bound):
        return ratio <= bound if at_least is None else ratio >= bound

    bound = limit if at_least is None else at_least
    shown = f'{bound:.3f}' if at_least is None else f'>{bound:.3f}'
    if holds(bound):
        return shown, 'reached', True
    if row['instead'] and holds(row['instead']['held']):
        return shown, f'not reached, {row["instead"]["held"]} held: {row["instead"]["why"]}', True
    return shown, 'MISSED', False


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
