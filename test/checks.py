"""What the long tests find, said as TAP does."""

# What was not so.
failed = []


def check(good, what, why=""):
    print(f"{'ok' if good else 'not ok'} - {what}", flush=True)
    if not good:
        failed.append(what)
        print(f"#   {why}", flush=True)
