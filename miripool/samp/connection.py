"""A connection to the hub: who else is there, messages to them with a time limit, and messages from them."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import logging
import threading
import time
import xmlrpc.client
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import InvalidInput, MiripoolError, ProgramError
from .answers import one_line, result_of
from .starting import ensure_hub
from .transport import PatientTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .lockfile import HubAddress

__all__ = ["Client", "Connection", "Gone", "connect", "leave_hubs", "need_samp"]

_log = logging.getLogger(__name__)

_T = TypeVar("_T")

_CONNECTIONS = 4
_HUB_SECONDS = 10.0
"""To wait for an answer of the hub itself."""
_LOOK_SECONDS = 0.5
"""How often a sender looks whether the receiver is still there."""
_QUIET_SECONDS = 5.0
"""After which a sender says for whom it waits."""


_open: set[Connection] = set()
"""The connections of this process."""


class Gone(ProgramError):
    """The program has ended."""


@dataclass(frozen=True, slots=True)
class Client:
    """A program that is connected to the hub.

    Attributes
    ----------
    id : str
        The hub's name of it, e.g. ``cli#3``.
    name : str
        Its own name, e.g. ``SAOImageDS9``, ``topcat``.
    mtypes : tuple of str
        Types of messages that it takes, sorted; ``*`` at the end stands for anything.
    """

    id: str
    name: str
    mtypes: tuple[str, ...]

    @property
    def takes_images(self) -> bool:
        """Whether it shows FITS images."""
        return self.takes("image.load.fits")

    @property
    def takes_tables(self) -> bool:
        """Whether it shows tables."""
        return self.takes("table.load.votable")

    def takes(self, mtype: str) -> bool:
        """Tell whether the program takes messages of a type.

        Parameters
        ----------
        mtype : str
            E.g. ``image.load.fits``.

        Returns
        -------
        bool
            Whether it has subscribed to them.
        """
        return any(mtype.startswith(one[:-1]) if one.endswith(".*") else one in (mtype, "*") for one in self.mtypes)


def need_samp() -> None:
    """Refuse to go on where the package of the extra ``samp`` is missing.

    Raises
    ------
    InvalidInput
        The message says how to install it.
    """
    try:
        import pyvo.samp
    except ImportError as error:
        raise InvalidInput(
            f"sending to DS9 and TOPCAT needs the extra 'samp', and {error.name} is not installed; "
            "install it with: pip install 'miripool[samp]'"
        ) from None
    pyvo.samp.conf.use_internet = False


@contextlib.contextmanager
def connect(
    name: str = "miripool", *, receiving: Mapping[str, Callable[[str, dict[str, Any]], None]] | None = None
) -> Iterator[Connection]:
    """Connect to the user's hub; one of our own is started if there is none.

    Parameters
    ----------
    name : str
        Under which others see this program.
    receiving : mapping of str to callable, keyword-only, optional
        For each type of message to take, e.g. ``table.highlight.row``, what is called with the id of the sender and
        the message's parameters. It is called in a thread of its own.

    Yields
    ------
    Connection
        Valid within the ``with`` block.

    Raises
    ------
    InvalidInput
        If the extra ``samp`` is not installed.
    ProgramError
        If the hub can't be started or does not answer.
    """
    need_samp()
    connection = Connection(ensure_hub(), name, receiving or {})
    _open.add(connection)
    try:
        yield connection
    finally:
        _open.discard(connection)
        connection.close()


def leave_hubs() -> None:
    """Leave the hub with all connections of this process: who waits for a program's answer gets an error instead."""
    for connection in list(_open):
        connection.leave()


class Connection:
    """A program's place at the hub; see `connect`.

    Parameters
    ----------
    address : HubAddress
        Of the hub.
    name : str
        Under which others see this program.
    receiving : mapping of str to callable
        As for `connect`.

    Attributes
    ----------
    address : HubAddress
        Of the hub.
    id : str
        The hub's name of this program.
    """

    def __init__(
        self, address: HubAddress, name: str, receiving: Mapping[str, Callable[[str, dict[str, Any]], None]]
    ) -> None:
        from pyvo.samp import SAMPClient, SAMPHubProxy, SAMPXXEServerProxy
        from pyvo.samp.utils import ServerProxyPool

        def proxy(url: str) -> Any:
            self._transports.append(PatientTransport(_HUB_SECONDS))
            return SAMPXXEServerProxy(url, transport=self._transports[-1], allow_none=True)

        self.address = address
        self._transports: list[PatientTransport] = []
        self._tags = map(str, itertools.count())
        self._hub = SAMPHubProxy()
        with self._talking():
            # Its own connect() would wait for ever for a hub that hangs.
            self._hub.proxy = ServerProxyPool(_CONNECTIONS, proxy, address.url)
            self._hub.lockfile, self._hub._connected = address.parameters, True
            told = {"samp.name": name, "samp.description.text": "pools of calibration products"}
            self._client = SAMPClient(self._hub, metadata=told, addr="127.0.0.1")
            self._client.unbind_receive_call("client.env.get", declare=False)  # it gives passwords away
            for mtype, function in receiving.items():
                self._client.bind_receive_message(mtype, self._receiver(function), declare=False)
            self._client.client.daemon_threads = True  # a hub that hangs may leave a message half sent
            self._client.start()
            try:
                self._register()
            except BaseException:
                self._stop()
                raise
        self.id: str = self._client.get_public_id()

    def _register(self) -> None:
        try:
            self._client.register()
        except (TypeError, KeyError) as error:  # pyvo takes it for granted that a hub's answer is whole
            raise xmlrpc.client.ResponseError("it lets nobody in as a hub does") from error

    def close(self) -> None:
        """Leave the hub, if it is still there."""
        self.leave()
        self._stop()

    def _stop(self) -> None:
        self._client.stop()
        self._hub.disconnect()
        for transport in self._transports:  # pyvo means to close them
            transport.close()

    def leave(self) -> None:
        """Tell the hub that this program is gone; only `close` makes sense afterwards."""
        with contextlib.suppress(ProgramError), self._talking():
            self._client.unregister()

    def clients(self) -> list[Client]:
        """List the other programs at the hub, in the order in which they came; the hub itself is left out.

        Returns
        -------
        list of Client
            Of those that have said what they take.

        Raises
        ------
        ProgramError
            If the hub does not answer.
        """
        from pyvo.samp import SAMPProxyError

        found = []
        key = self._client.get_private_key()
        with self._talking():
            for one in self._ids():
                with contextlib.suppress(SAMPProxyError):  # it has just left
                    mtypes = _expect(dict, self._hub.get_subscriptions(key, one))
                    name = _expect(dict, self._hub.get_metadata(key, one)).get("samp.name")
                    found.append(Client(one, one_line(name or one), tuple(sorted(mtypes))))
        return found

    def _ids(self) -> list[str]:
        listed = _expect(list, self._hub.get_registered_clients(self._client.get_private_key()))
        return [one for one in map(str, listed) if one not in (self._client._hub_id, self.id)]

    def call(self, client: Client, mtype: str, parameters: Mapping[str, Any], *, seconds: float) -> dict[str, Any]:
        """Send a message, and wait for the answer.

        Parameters
        ----------
        client : Client
            Who gets it.
        mtype : str
            Type of the message.
        parameters : mapping
            Its values: text, lists and mappings of text.
        seconds : float, keyword-only
            To wait at most.

        Returns
        -------
        dict
            The answer's values.

        Raises
        ------
        Gone
            If the client leaves, or the hub can't reach it.
        ProgramError
            If it answers with an error or without a status, or does not answer in time; or the hub does not answer.
        """
        answered, answers = threading.Event(), []

        def take(_key: str, _sender: str, _tag: str, answer: dict[str, Any]) -> None:
            answers.append(answer)
            answered.set()

        tag = next(self._tags)
        message = {"samp.mtype": mtype, "samp.params": dict(parameters)}
        self._client.bind_receive_response(tag, take)
        try:
            with self._talking():
                self._deliver(client, tag, message)
                self._wait(client, answered, seconds)
        finally:
            self._client.unbind_receive_response(tag)
        return result_of(client.name, answers[0])

    def _deliver(self, client: Client, tag: str, message: dict[str, Any]) -> None:
        from pyvo.samp import SAMPProxyError

        try:
            self._hub.call(self._client.get_private_key(), client.id, tag, message)
        except SAMPProxyError as error:
            # TOPCAT's hub keeps programs on its list that were killed, and says so only now.
            raise Gone(
                f"{client.name} can't be reached by the SAMP hub ({one_line(error.faultString)}); if it has ended, "
                "start it again, and send again"
            ) from error

    def _wait(self, client: Client, answered: threading.Event, seconds: float) -> None:
        begin = time.monotonic()
        until, said = begin + seconds, False
        while not answered.wait(max(0.0, min(_LOOK_SECONDS, until - time.monotonic()))):
            if client.id not in self._ids():
                raise Gone(f"{client.name} has ended while it was receiving; start it again, and send again")
            if time.monotonic() >= until:
                raise ProgramError(
                    f"{client.name} has not answered within {seconds:.0f} s; look at its window: it may hang, or wait "
                    "for an answer of yours"
                )
            if not said and time.monotonic() >= begin + _QUIET_SECONDS:
                _log.warning("waiting for %s, at most %.0f s ...", client.name, seconds)
                said = True

    def _receiver(self, function: Callable[[str, dict[str, Any]], None]) -> Callable[..., None]:
        """Make what pyvo calls for a message; a call gets an answer, a notification none."""

        def receive(key: str, sender: str, number: str | None, _mtype: str, values: dict[str, Any], _more: Any) -> None:
            answer: dict[str, Any] = {"samp.status": "samp.ok", "samp.result": {}}
            try:
                if not isinstance(values, dict):
                    raise InvalidInput("a message's parameters are a mapping")
                function(sender, values)
            except MiripoolError as error:
                _log.info("a message of %s was refused: %s", sender, error)
                answer = {"samp.status": "samp.error", "samp.error": {"samp.errortxt": str(error)}}
            if number is not None:
                self._hub.reply(key, number, answer)

        return receive

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """Say in our words what goes wrong between this program and the hub."""
        from pyvo.samp import SAMPClientError, SAMPHubError

        url = self.address.url
        try:
            yield
        except TimeoutError as error:
            raise ProgramError(
                f"the SAMP hub at {url} does not answer; end the program that runs it, and try again"
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ProgramError(f"the SAMP hub at {url} has ended ({one_line(error)}); try again") from error
        except xmlrpc.client.ResponseError as error:
            why = one_line(*error.args) if error.args else "it says nothing"
            raise ProgramError(
                f"what answers at {url} is no SAMP hub: {why}; remove {self.address.path}, and try again"
            ) from error
        except (xmlrpc.client.Error, SAMPClientError, SAMPHubError) as error:  # a fault is one of the first
            said = getattr(error, "faultString", error)
            raise ProgramError(f"the SAMP hub at {url} refuses: {one_line(said)}") from error


def _expect(kind: type[_T], value: Any) -> _T:
    """Give a value that the hub has sent if it is what the protocol says."""
    if isinstance(value, kind):
        return value
    raise xmlrpc.client.ResponseError(f"it sends {type(value).__name__} where a hub sends {kind.__name__}")
