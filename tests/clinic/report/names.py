"""Names and words that reports have to draw; made from standards and this package's own words, of no real person."""

import tomllib
from collections.abc import Iterator
from typing import Any, Final

from eyeground.clinic.findings import UNAVAILABLE
from eyeground.clinic.report.language import SHELF
from eyeground.clinic.urgency import read_rules, rule_sets
from eyeground.explain.regions import TITLES

SURNAMES: Final = (
    "王李张刘陈杨黄赵吴周徐孙马朱胡郭何林高罗郑梁谢宋唐许韩邓冯曹彭曾肖"
    "田董潘袁蔡蒋余于杜叶程魏苏吕丁任卢姚沈钟姜崔谭陆范汪廖石金韦贾夏付方"
    "邹熊白孟秦邱侯江尹薛闫段雷龙黎史陶贺毛郝顾龚邵万覃武钱戴严莫孔向常汤"
)
# Rare, of extensions A and B, or simplified late.
RARE: Final = (
    "𠮷田", "㐂", "䶮", "犇", "龘", "玥", "堃", "喆", "曌", "翀",
    "燚", "昇", "淼", "璟", "赟", "彧", "頔", "暠", "祎", "珺", "甯",
    "逄", "乜", "亓官", "昝", "仉", "夔", "麹", "逯", "缑", "岀",
    "烎", "嫑", "犭", "鑫", "垚", "劼", "旻", "晟", "晞", "熠", "瑄",
)  # fmt: skip
MINORITIES: Final = (
    "扎西多吉", "次仁·卓玛", "买买提·艾合买提", "阿依古丽·吐尔逊",
    "迪丽热巴·迪力木拉提", "巴特尔·苏和", "额尔德尼‧巴图", "卓玛・央金",
    "古丽娜尔·阿不都拉", "洛桑 尼玛", "努尔兰·哈布都拉", "ئايگۈل", "مەمەت", "گۈلنار",
)  # fmt: skip
FOREIGN: Final = (
    "Łukasz Żółć", "José Muñoz", "François Lefèvre",
    "Jürgen Groß", "Søren Ångström", "Đặng Thị Hương", "İbrahim Şahin",
    "Ștefan Țepeș", "Þórður Æsir", "Nguyễn Văn Ánh", "Иван Ёлкин", "Анна Щербакова", "Олександр Ґудзь", "Αλέξανδρος",
    "O’Brien", "Anne-Marie", "山田太郎", "サトウ ハナコ", "김민수", "李 Smith-Jones", "Zoë", "Çağrı", "Ağaoğlu",
)  # fmt: skip
SIGNS: Final = (
    "P-0001/2026", "No. 17 (b)", "≥ 21 mmHg", "± 0.5", "20/25−1", "½", "①②③",
    "×100", "→", "℃", "《眼科》", "【注】", "％", "５．０",
    "100 %", "C/D=0.4", "A/V=2:3", "¥12", "§ 4", "α β γ", "“引号”", "…",
    "——", "№ 7", "Ⅱ 期", "㎜", "<1>", "&amp;", "a_b*c`d", "~#$%^",
)  # fmt: skip


def names_and_words() -> list[str]:
    """All of them, each once."""
    return list(dict.fromkeys([*_common(), *RARE, *MINORITIES, *FOREIGN, *SIGNS, *_own_words()]))


def _common() -> Iterator[str]:
    """Names that have every one of the 3,755 commonest characters, and the 3,008 of the second level, once."""
    letters = [
        bytes((row, cell)).decode("gb2312")
        for row in range(0xB0, 0xF8)
        for cell in range(0xA1, 0xFF)
        if not (row == 0xD7 and cell > 0xF9)
    ]
    assert len(letters) == 3755 + 3008
    for place in range(0, len(letters), 2):
        yield SURNAMES[place // 2 % len(SURNAMES)] + "".join(letters[place : place + 2])


def _own_words() -> Iterator[str]:
    """Every word of the reports, of the rules and of the findings."""
    for path in sorted(SHELF.glob("*.toml")):
        yield from _leaves(tomllib.loads(path.read_text("utf-8")))
    yield from _leaves(TITLES)
    yield from _leaves(UNAVAILABLE)
    for name in rule_sets():
        for level in read_rules(name).levels:
            yield from (level.en, level.zh)


def _leaves(told: Any) -> Iterator[str]:
    """The words in a table of tables."""
    if isinstance(told, str):
        yield told
        return
    for inner in told.values():
        yield from _leaves(inner)
