"""The words of ABC: one pattern a kind of token, and how each place in a text combines them.

Every pattern is bounded, so that no token grows without end and matching stays linear in the text.
"""

import re

LENGTH = r"[0-9]{0,12}(?:/{1,8}[0-9]{0,12})?"

# In the body a letter that names a note cannot name a field: "A:|" is the note A before a repeat.
BODY_FIELD = r"(?:X:(?![|:])|[H-WYZh-w+]:)"
HEADER_FIELD = r"[A-Za-z+]:"
FIELD_TEXT = r"(?:[^%\r\n\\]|\\[^\r\n]?){0,4000}"

NEWLINE = r"(?P<newline>\r\n?|\n)"
COMMENT = r"(?P<comment>%[^\r\n]{0,4000})"
DIRECTIVE = r"(?P<directive>%%[^\r\n]{0,4000})"

MUSIC = (
    NEWLINE,
    r"(?P<space>[^\S\r\n]{1,400})",
    rf"(?P<note>(?:\^{{1,2}}|_{{1,2}}|=)?[A-Ga-g][,']{{0,12}}{LENGTH})",
    r"(?P<bar>\.\||:{0,8}\[\|\]?:{0,8}|:{0,8}\|{1,8}\]?:{0,8}|:{2,8})",
    rf"(?P<rest>[zxZX]{LENGTH})",
    r'(?P<annotation>"[\^_<>@](?:[^"\\\r\n]|\\[^\r\n]?){0,1000}"?)',
    r'(?P<symbol>"(?:[^"\\\r\n]|\\[^\r\n]?){0,1000}"?)',
    r"(?P<ending>\[?[0-9]{1,3}(?:[,-][0-9]{1,3}){0,30})",
    r"(?P<inline>\[[H-Zh-w]:[^\]\r\n]{0,1000}\]?)",
    r"(?P<chord_open>\[)",
    rf"(?P<chord_close>\]{LENGTH})",
    r"(?P<tuplet>\([0-9]{1,3}(?::[0-9]{0,3}){0,2})",
    r"(?P<slur_open>\.?\((?![0-9]))",
    r"(?P<slur_close>\))",
    r"(?P<tie>\.?-)",
    r"(?P<broken>>{1,8}|<{1,8})",
    r"(?P<grace_open>\{/?)",
    r"(?P<grace_close>\})",
    r"(?P<decoration>![^\s!|\[\]\":]{1,40}!|\+[\w.()<>]{1,40}\+|[.~H-Wh-w])",
    r"(?P<overlay>&)",
    r"(?P<continuation>\\)",
    COMMENT,
    r"(?P<linebreak>[!$])",
    rf"(?P<spacer>y{LENGTH})",
    r"(?P<backtick>`{1,400})",
    r"(?P<unknown>\^{1,2}|_{1,2}|.)",
)

# What may still become a longer token of another kind when more text comes, though a shorter one matches already.
UNDECIDED = re.compile(
    r"\[[H-Zh-w]?\Z|![^\s!|\[\]\":]{0,40}\Z|\+[\w.()<>]{0,40}\Z|\[?[0-9]{1,3}(?:[,-][0-9]{1,3}){0,30}[,-]\Z"
    r"|X:\Z"
)


def _one_of(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns))


IN_MUSIC = _one_of(*MUSIC)
LINE_IN_HEADER = _one_of(rf"(?P<field>{HEADER_FIELD}{FIELD_TEXT})", DIRECTIVE, *MUSIC)
LINE_IN_BODY = _one_of(rf"(?P<field>{BODY_FIELD}{FIELD_TEXT})", DIRECTIVE, *MUSIC)
# Old tunes go on after H: in lines without a letter.
LINE_IN_HISTORY = _one_of(
    rf"(?P<field>{HEADER_FIELD}{FIELD_TEXT})", DIRECTIVE, NEWLINE, COMMENT, r"(?P<text>[^\r\n]{1,4000})"
)
# After a field or comment up to the end of its line, and inside %%begintext .. %%endtext.
REST_OF_LINE = _one_of(NEWLINE, COMMENT, r"(?P<text>[^\r\n]{1,4000})")
IN_BLOCK = _one_of(NEWLINE, r"(?P<directive>%%end[^\r\n]{0,4000})", r"(?P<text>[^\r\n]{1,4000})")
