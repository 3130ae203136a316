"""Measures how much personal data `understudy import --scrub` finds in a small labelled set, by kind, and how often it removes other text.

    python -m bench.scrubbing

Takes half a minute. It needs Presidio and a spaCy model of English (docs/imports.md); it uses the largest one that is installed.
"""

import re
import sys
from collections import Counter

from blocks.personal_data import load_finder
from core.errors import SettingsError
from core.imports.scrubbing import Finder, ScrubReport, scrub
from core.records import Exchange, Transcript

MARK = re.compile(r"\[\[([A-Z -]+)\|([^\]]+)\]\]")
LABELLED = """
Hi, my name is [[NAME|Maria Gonzalez]] and I was born on [[DATE OF BIRTH|12 March 1984]].
You can reach me at [[E-MAIL|maria.g84@example.com]] or [[PHONE|+1 617 555 0142]].
I live at [[ADDRESS|14 Elm Street, Boston, MA 02118]] with my husband [[NAME|Tomás]].
My sister [[NAME|Jenna]] told me to just quit. [[NAME|Jenna]] always says that.
My manager, [[NAME|David Okafor]], keeps giving my work to [[NAME|Sarah]].
i hate it when [[NAME|sarah]] does that lol
My SSN is [[ID|536-90-4399]] and they keep asking for it.
The card they charged was [[ACCOUNT|4111 1111 1111 1111]].
Please send the refund to IBAN [[ACCOUNT|DE89 3704 0044 0532 0130 00]].
My account number at the bank is [[ACCOUNT|0034519928]], sort code [[ACCOUNT|20-41-77]].
Passport [[ID|X4417729]] expires next month.
My NHS number is [[ID|943 476 5919]].
Call my therapist Dr. [[NAME|Elaine Whitmore]] on [[PHONE|020 7946 0958]].
DOB: [[DATE OF BIRTH|1990-07-04]]. Phone: [[PHONE|(415) 555-2671]].
We moved to [[ADDRESS|221B Baker Street, London NW1 6XE]] last spring.
My landlord lives at [[ADDRESS|Lindenstraße 12, 10969 Berlin]].
Write to [[E-MAIL|j.smith+work@mail.example.co.uk]], not the old one.
My son [[NAME|Kofi]] turned 6 and my daughter [[NAME|Amara]] is 9.
[[NAME|Priya Raghunathan]] from HR said it's fine.
Thanks, [[NAME|Mike]]
My driver's licence number is [[ID|D1234567]].
My employee id is [[ID|EMP-00921]].
My IP was [[ID|192.168.14.22]] when it happened.
Text me at [[PHONE|07700 900123]].
Mein Name ist [[NAME|Hans Müller]].
I talked to [[NAME|Nguyen Thi Hoa]] about the lease.
My mum's phone is [[PHONE|+44 7911 123456]] and my dad is [[NAME|Geoffrey]].
born [[DATE OF BIRTH|3/5/88]], lives on [[ADDRESS|48 Oakwood Ave]]
[[NAME|Fatima]] and [[NAME|Abdul Rahman]] came over, then [[NAME|Fatima]] left.
my boss tim keeps texting me at night from [[PHONE|555-867-5309]]
My insurance policy number is [[ID|881204467]].
My member number is [[ID|AB1234567]].
Wire it to account [[ACCOUNT|12345678]], the bank is in Leeds.
my ex, [[NAME|josh]], still has the key
I'm [[NAME|Olu]], by the way.
Dear [[NAME|Ms Kaminski]], I am writing about the flat at [[ADDRESS|7 Mill Lane, Cambridge CB2 1RX]].
""".strip().splitlines()
HELD_OUT = """
Honestly [[NAME|Beatriz]] is the only one who gets me, and [[NAME|Marcus Lindqvist]] knows it.
I told [[NAME|Dr Sundaram]] I'd stop, mail is [[E-MAIL|beatriz_h@mailbox.example.org]].
You can ring me on [[PHONE|0161 496 0321]] after six, or my mobile [[PHONE|+49 151 23456789]].
She was born on [[DATE OF BIRTH|2 February 1979]], so a typical Aquarius.
My birthday is [[DATE OF BIRTH|11/30/1995]] and nobody remembered.
The flat is at [[ADDRESS|305 Willow Creek Road, Apt 4, Denver, CO 80203]].
I grew up at [[ADDRESS|Hauptstraße 5]] in Kiel.
We live on [[ADDRESS|Rue de Rivoli 40, 75004 Paris]] now.
My passport is [[ID|C01X00T47]], they lost it.
Student number [[ID|20231187]], third year.
My social is [[ID|219-09-9998]].
They want my routing number [[ACCOUNT|121000358]] and I don't trust it.
Visa ending, well, it's [[ACCOUNT|5500 0055 5555 5559]].
IBAN is [[ACCOUNT|GB33BUKB20201555555555]].
me and [[NAME|danny]] broke up
ok so [[NAME|Xiomara]] and [[NAME|Tunde]] are moving in together and [[NAME|Leila]] is furious
[[NAME|Wang Wei]] is my supervisor. [[NAME|Wei]] never answers.
Yours, [[NAME|Siobhán O'Leary]]
""".strip().splitlines()
"""Sentences that were written after the patterns; the patterns were not adapted to them."""
PLAIN = """
I slept badly and woke at 3 again.
It's been 5 years since I started at this job and I make 45,000 a year.
On Monday I have a meeting at 10:30 about the Q3 numbers.
Christmas with the family was hard this year.
I read a book about Buddhism and tried the Pomodoro method.
My cat knocked over the Ficus. April was wet.
Use Python 3.11 and run pip install numpy==2.4.1.
I owe about 1,200 dollars on my Visa.
I'm from a small town and I feel Mark of shame, ha.
Take 2 tablets of ibuprofen 400 every 6 hours.
Grace under pressure, that's what I want. Hope helps.
Maybe I should will myself to do it.
The order 99812 came on 12 March 2024 and was broken.
I was rose-tinted about it; may you forgive me, it was a bill I forgot.
My therapist says CBT, my doctor says walk 10,000 steps.
We had sushi in Tokyo on 3 May 2019 for our anniversary.
Version 20-41-77 of the form is out of date.
""".strip().splitlines()


def main() -> int:
    try:
        find = load_finder()
    except SettingsError as error:
        sys.exit(str(error))
    for name, lines in (("the set that the patterns were written with", LABELLED), ("the held-out set", HELD_OUT)):
        labelled, removed, placed = Counter[str](), Counter[str](), 0
        missed: list[str] = []
        for line in lines:
            cleaned = cleaned_of(MARK.sub(lambda mark: mark[2], line), find)
            placed += len(re.findall(r"\[[A-Z -]+ \d+\]", cleaned))
            for kind, value in MARK.findall(line):
                labelled[kind] += 1
                gone = value not in cleaned
                removed[kind] += gone
                missed += [] if gone else [f"{kind} {value!r}"]
        print(f"{name}: {removed.total()} of {labelled.total()} values removed, {placed} placeholders")
        print(f"  {', '.join(f'{kind} {removed[kind]} of {labelled[kind]}' for kind in labelled)}")
        print(f"  missed: {', '.join(missed)}")
    wrong = [line for line in PLAIN if cleaned_of(line, find) != line]
    print(f"{len(wrong)} of {len(PLAIN)} sentences without personal data were changed")
    for line in wrong:
        print(f"  {line}")
    return 0


def cleaned_of(text: str, find: Finder) -> str:
    talk = Transcript(id="t", exchanges=[Exchange(exchange_number=1, user=text, assistant="Yes.")])
    return scrub(talk, find, ScrubReport()).exchanges[0].user


if __name__ == "__main__":
    sys.exit(main())
