"""How a written word is spoken, for the aligner: numbers as words, symbols by name, rough sounds for unknown words.

Pure. English only. The result need not be what was said in every detail ("nineteen eighty four" or "one thousand
..."): it must take about as long and sound about the same.
"""

from __future__ import annotations

import re

ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = ((10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
MONEY = {"$": "dollars", "£": "pounds", "€": "euros"}
SYMBOLS = {"&": "and", "%": "percent", "+": "plus", "=": "equals", "@": "at", "°": "degrees", "/": ""}
ABBREVIATIONS = {"mr": "mister", "mrs": "missus", "dr": "doctor", "vs": "versus", "etc": "et cetera"}

_PARTS = re.compile(r"[$£€]?\d[\d,]*(?:\.\d+)?(?:st|nd|rd|th|s)?|[^\W\d_]+(?:['\u2019][^\W\d_]+)*['\u2019]?|[&%+=@°]")
_NUMBER = re.compile(r"([$£€]?)(\d[\d,]*)(?:\.(\d+))?(st|nd|rd|th|s)?")


def spoken(word: str) -> list[str]:
    """The lower-case words that are heard for one written word; none for bare punctuation."""
    return [part for match in _PARTS.findall(word) for part in _spoken_part(match)]


def _spoken_part(part: str) -> list[str]:
    if number := _NUMBER.fullmatch(part):
        return _amount(*number.groups(default=""))
    if part in SYMBOLS:
        return [SYMBOLS[part]]
    plain = part.lower().replace("\u2019", "'")
    return ABBREVIATIONS.get(plain, plain).split()


def _amount(currency: str, digits: str, decimals: str, suffix: str) -> list[str]:
    whole = digits.replace(",", "")
    words = _whole(whole, grouped="," in digits or bool(currency or decimals))
    if suffix == "s":
        words[-1] = _plural(words[-1])
    elif suffix:
        words[-1] = _ordinal(words[-1])
    if decimals and currency and len(decimals) == 2:
        return [*words, MONEY[currency], *_whole(decimals.lstrip("0") or "0", grouped=True)]
    if decimals:
        words += ["point", *(ONES[int(digit)] for digit in decimals)]
    return [*words, MONEY[currency]] if currency else words


def _whole(digits: str, *, grouped: bool) -> list[str]:
    """A number without decimals; not ``grouped`` by commas it may be a year, a telephone number or a code."""
    value = int(digits)
    if (digits[0] == "0" and len(digits) > 1) or len(digits) > 12 or (len(digits) > 6 and not grouped):
        return [ONES[int(digit)] for digit in digits]
    if not grouped and len(digits) == 4 and 1100 <= value <= 2099 and value // 10 != 200:
        return _year(value)
    return cardinal(value)


def _year(value: int) -> list[str]:
    century, rest = divmod(value, 100)
    if rest == 0:
        return [*cardinal(century), "hundred"] if century % 10 else cardinal(value)
    return [*cardinal(century), *(["oh"] if rest < 10 else []), *cardinal(rest)]


def cardinal(value: int) -> list[str]:
    """A whole number in words: 342 is three hundred forty two."""
    if value < 20:
        return [ONES[value]]
    if value < 100:
        return [TENS[value // 10], *([ONES[value % 10]] if value % 10 else [])]
    size, name = next((size, name) for size, name in SCALES if value >= size)
    return [*cardinal(value // size), name, *(cardinal(value % size) if value % size else [])]


def _ordinal(word: str) -> str:
    if word in ORDINALS:
        return ORDINALS[word]
    return word[:-1] + "ieth" if word.endswith("y") else word + "th"


def _plural(word: str) -> str:
    return word[:-1] + "ies" if word.endswith("y") else word + ("es" if word.endswith("x") else "s")


def syllables(word: str) -> int:
    """About how many syllables a written word has; at least one."""
    return max(1, sum(len(re.findall(r"[aeiouy]+(?!$)|[aiouy]$|ee$", part)) or 1 for part in spoken(word)))


_SOUNDS = {
    "tion": "SH AH N", "sion": "ZH AH N", "ough": "AO", "augh": "AO", "igh": "AY", "tch": "CH", "sch": "SH",
    "eau": "OW", "ch": "CH", "sh": "SH", "th": "TH", "ph": "F", "wh": "W", "ck": "K", "gh": "G", "kn": "N",
    "wr": "R", "qu": "K W", "ng": "NG", "dg": "JH", "ee": "IY", "ea": "IY", "ie": "IY", "ei": "EY", "ey": "IY",
    "ai": "EY", "ay": "EY", "oo": "UW", "ou": "AW", "ow": "OW", "oi": "OY", "oy": "OY", "oa": "OW", "au": "AO",
    "aw": "AO", "er": "ER", "ir": "ER", "ur": "ER", "ar": "AA R", "or": "AO R", "a": "AE", "b": "B", "c": "K",
    "d": "D", "e": "EH", "f": "F", "g": "G", "h": "HH", "i": "IH", "j": "JH", "k": "K", "l": "L", "m": "M",
    "n": "N", "o": "AA", "p": "P", "q": "K", "r": "R", "s": "S", "t": "T", "u": "AH", "v": "V", "w": "W",
    "x": "K S", "y": "IY", "z": "Z",
}  # fmt: skip
_GRAPHEME = re.compile(r"([bcdfgklmnprstz])\1|" + "|".join(sorted(_SOUNDS, key=len, reverse=True)))


def sounds(word: str) -> str:
    """A rough pronunciation in the CMU dictionary's phones for a word that is not in it."""
    letters = re.sub(r"(?<=[a-z]{2})e$", "", re.sub(r"[^a-z]", "", word.lower()))
    phones = [_SOUNDS[match[0][0] if match[1] else match[0]] for match in _GRAPHEME.finditer(letters)]
    return " ".join(phones) or "AH"
