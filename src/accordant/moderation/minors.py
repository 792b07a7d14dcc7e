"""Whether a text names somebody under 18: with the score for sexual content, the rule for sexual/minors.

A rule, because no set that may be passed on holds examples to learn from, and because here a miss is worse than a
false alarm. Where training rows do hold them, a head is trained and the rule is not used.
"""

import re

_NUMBER = r"([1-9]|1[0-7]|six|seven|eight|nine|ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen)"
_MINOR = re.compile(
    rf"""\b(
        child(ren)? | kids? | minors? | infants? | toddlers? | bab(y|ies) | (pre)?-?teens? | tweens? | teenage(d|rs?)?
        | adolescents? | under-?\s?(age|18|eighteen) | school\s?(girl|boy|child|kid)s? | (little|young)\s(girl|boy)s?
        | (pre|middle|high|elementary|primary)[\s-]?school(ers?)? | kindergart\w+ | lolita? | lolicon | shota(con)?
        | jailbait | {_NUMBER}[\s-]*(years?|yrs?)[\s-]*olds? | {_NUMBER}\s?y/?o
        | (first|second|third|[4-9]th|1[0-2]th)[\s-]grade(rs?)?
    )\b""",
    re.VERBOSE | re.IGNORECASE,
)


def names_a_minor(text: str) -> bool:
    """Whether a word or an age for somebody under 18 stands in `text`; adults so called are taken for such, too."""
    return bool(_MINOR.search(text))
