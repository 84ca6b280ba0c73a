"""Flags of a mask: which data-quality flags a state sets, which of them mean "do not use", and what a monitor can deny.

The flags are those of JWST (`stdatamodels.jwst.datamodels.dqflags`); `miripool.query.pixelwhere.FLAGS` has their bits.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from ..errors import InvalidInput
from ..model.keywords import suggest
from ..query.pixelwhere import FLAGS
from .answers import check_states

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["DO_NOT_USE", "FLAGGING", "Flagging", "bits_of", "choose_flags", "flags_in", "judged_bits"]

DO_NOT_USE: Final = FLAGS["DO_NOT_USE"]

_NO_FLAG: Final = "NONE"


@dataclass(frozen=True, slots=True)
class Flagging:
    """What a state means for a mask.

    Attributes
    ----------
    flag : str or None
        Name of the flag that the state sets; None if it sets none.
    do_not_use : bool
        Whether the state also sets DO_NOT_USE: the pipeline then fits no slope.
    reason : str
        Why.
    denied_by : str or None
        The light (dark, flat) whose exposures show that a pixel is *not* in the state. They may take the flag away from
        a pixel of an older mask.
    in_light : mapping of str to str
        Flags that are set instead of `flag`, by the light of the stratum.
    """

    flag: str | None
    do_not_use: bool
    reason: str
    denied_by: str | None = None
    in_light: Mapping[str, str] = field(default_factory=dict)


_CHANGED: Final = MappingProxyType({"flat": "UNRELIABLE_FLAT", "sky": "UNRELIABLE_SLOPE"})

FLAGGING: Final[Mapping[str, Flagging]] = MappingProxyType(
    {
        "hot": Flagging("HOT", True, "its dark current adds noise, and the DARK reference does not follow it", "dark"),
        "warm": Flagging("WARM", False, "its excess is below the noise of one exposure: it costs little", "dark"),
        "dead": Flagging("DEAD", True, "it does not see light", "flat"),
        "low_qe": Flagging("LOW_QE", False, "it sees light, and the flat field corrects it", "flat"),
        "open": Flagging("OPEN", True, "its charge goes to its neighbours"),
        "noisy": Flagging("UNRELIABLE_SLOPE", False, "its slopes scatter about the right mean", "dark"),
        "rc": Flagging("RC", True, "its ramp is no straight line"),
        "rts": Flagging("TELEGRAPH", True, "it is not known at which of its two levels an exposure was", "dark"),
        "unstable": Flagging(
            "UNRELIABLE_SLOPE", True, "some of its slopes are far off, and no DQ flag marks them", "dark"
        ),
        "step": Flagging(
            "UNRELIABLE_DARK", False, "it is steady, but differs from references made before", in_light=_CHANGED
        ),
        "drift": Flagging(
            "UNRELIABLE_DARK", False, "it changes slowly; an exposure is hardly affected", in_light=_CHANGED
        ),
    }
)
"""The defaults, by state."""


def choose_flags(
    flags: Mapping[str, str | None] | None = None, *, use: Iterable[str] = (), do_not_use: Iterable[str] = ()
) -> dict[str, Flagging]:
    """Change the defaults.

    Parameters
    ----------
    flags : mapping of str to str, optional
        Flags by state; None or ``NONE`` for a state that leaves no mark, DO_NOT_USE included.
    use : iterable of str, keyword-only
        States that do not set DO_NOT_USE.
    do_not_use : iterable of str, keyword-only
        States that do.

    Returns
    -------
    dict of str to Flagging
        All states.

    Raises
    ------
    InvalidInput
        If there is no such state or flag, or a state is in both lists.
    """
    given = {} if flags is None else dict(flags)
    good, bad = check_states(use), check_states(do_not_use)
    check_states(given)
    if both := sorted(good & bad):
        raise InvalidInput(f"{', '.join(both)}: a state can't be both usable and DO_NOT_USE; name it once")
    found = dict(FLAGGING)
    for state, name in given.items():
        flag = _flag_named(name)
        found[state] = replace(found[state], flag=flag, do_not_use=found[state].do_not_use and flag is not None)
        found[state] = replace(found[state], in_light={}, reason="as asked")
    for state in good | bad:
        found[state] = replace(found[state], do_not_use=state in bad, reason="as asked")
    return found


def _flag_named(name: str | None) -> str | None:
    if name is None or name.upper() == _NO_FLAG:
        return None
    if name.upper() in FLAGS:
        return name.upper()
    near = suggest(name, [*FLAGS, _NO_FLAG])
    hint = f"did you mean {near[0]}?" if near else f"the flags are {', '.join(FLAGS)}, or {_NO_FLAG}"
    raise InvalidInput(f"there is no flag {name!r}; {hint}")


def bits_of(flagging: Flagging, light: str) -> int:
    """Give the bits that a state sets.

    Parameters
    ----------
    flagging : Flagging
        Of the state.
    light : {'dark', 'flat', 'sky'}
        Of the stratum.

    Returns
    -------
    int
        As in a DQ array; 0 for none.
    """
    name = flagging.in_light.get(light, flagging.flag)
    return (FLAGS[name] if name is not None else 0) | (DO_NOT_USE if flagging.do_not_use else 0)


def judged_bits(flags: Mapping[str, Flagging], light: str) -> int:
    """Give the flags that exposures in a light can deny. A state that leaves no mark can't deny its flag.

    Parameters
    ----------
    flags : mapping of str to Flagging
        All states.
    light : {'dark', 'flat', 'sky'}
        Of the stratum.

    Returns
    -------
    int
        Bits, without DO_NOT_USE. They are the flags that the states have by default, whatever flags they set now:
        a flag such as OTHER_BAD_PIXEL has many causes.
    """
    judged = silent = 0
    for state, usual in FLAGGING.items():
        if usual.denied_by == light and usual.flag is not None:
            judged |= FLAGS[usual.flag]
            silent |= 0 if bits_of(flags[state], light) else FLAGS[usual.flag]
    return judged & ~silent


def flags_in(bits: int) -> list[str]:
    """Name the flags of a DQ value.

    Parameters
    ----------
    bits : int
        The value.

    Returns
    -------
    list of str
        From the lowest bit.
    """
    return [name for name, value in FLAGS.items() if bits & value]
