"""Settings: a client's options, checked. Pickling a client pickles its settings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tfs_client._flows.asked import Defaults
from tfs_client._flows.client_options import GivenOptions, passed, with_defaults
from tfs_client._flows.contradictions import check_channel_options
from tfs_client._flows.derivation import Derivation
from tfs_client._flows.known_signatures import StatedSignatures
from tfs_client._flows.predicting_rest import FORMS
from tfs_client._flows.telemetry.hooks import ClientHook, check_pickled, checked_hooks
from tfs_client._flows.telemetry.masking import Masking
from tfs_client._flows.telemetry.observing import Observer
from tfs_client._transports.connection import Connection
from tfs_client._transports.targets import checked_target
from tfs_client.errors import ConfigError
from tfs_client.options import UNSET, Limits, Unset, checked_channel_options, checked_metadata
from tfs_client.telemetry.records import Hook

if TYPE_CHECKING:
    from tfs_client._flows.recorded import Recorded
    from tfs_client.recordings.recording import Recording


@dataclass(frozen=True)
class Settings:
    """A client's checked options.

    Attributes:
        connection: how to reach the server.
        defaults: the values of options that calls can override.
        rest_format: "auto", "row" or "columnar".
        signatures: the signatures that the user stated, and their model; None for the server's own.
        recording: records the calls, or answers them; None to make them only.
        hooks: receive records of the calls.
        derivation: how ``with_options`` made the client; None for one that is not derived.
    """

    connection: Connection
    defaults: Defaults
    rest_format: str = "auto"
    signatures: StatedSignatures | None = None
    recording: Recording | None = None
    hooks: tuple[ClientHook, ...] = ()
    derivation: Derivation | None = None

    @classmethod
    def of(cls, target: str | Iterable[str] | None, given: GivenOptions) -> Settings:
        """Complete a client's options from its configuration, and check them.

        With a target, the environment is not read, and no profile but a named one. Raises ConfigError.
        """
        options = passed(given)
        if target is not None and given["profile"] is None:
            return cls.checked(target, options)
        from tfs_client._flows.configuration import resolved  # many clients have a target

        configuration = resolved.of_client(target, given["profile"], options)
        try:
            return cls.checked(configuration.target, configuration.options())
        except ConfigError as error:
            raise configuration.explained(error, cls.checked) from None

    @classmethod
    def checked(cls, target: str | Iterable[str], given: dict[str, object]) -> Settings:
        """Complete a client's options with the defaults, and check them. Raises ConfigError."""
        options = with_defaults(given)
        connection = Connection(
            checked_target(target),
            tls=options["tls"],  # type: ignore[arg-type]  # True and False become what they stand for
            keepalive=options["keepalive"],
            compression=options["compression"],
            interceptors=options["interceptors"],
            channel_options=checked_channel_options(options["channel_options"]),
            proxy=options["proxy"],
            limits=Limits(options["max_reply_bytes"], options["max_inflated_bytes"]),
        )
        defaults, rest_format = Defaults.of(connection, options), options["rest_format"]
        if rest_format not in FORMS:
            raise ConfigError(f"expected rest_format 'auto', 'row' or 'columnar', got {rest_format!r}")
        if rest_format != "auto" and not connection.target.rest:
            raise ConfigError(
                "rest_format applies to REST only: leave it out, or pass a target such as 'http://host:8501'"
            )
        check_channel_options(connection)
        stated = None
        if (signatures := options["signatures"]) is not None:
            from tfs_client._flows import given_signatures  # few clients need it

            name = defaults.spec.name
            stated = StatedSignatures(name, given_signatures.stated(signatures, name))
        recording = None
        if (record := options["record"]) is not None:
            from tfs_client.recordings.recording import Recording  # few clients need it

            recording = record if isinstance(record, Recording) else Recording(record)
        hooks = checked_hooks(options["hooks"])
        return cls(connection, defaults, rest_format, stated, recording, hooks)

    def derived(self, hooks: Hook | Sequence[Hook] | Unset, **options: Any) -> Settings:
        """The settings of a client that ``with_options`` returns; see ``Defaults.derived``. Raises ConfigError."""
        found = self.hooks if hooks is UNSET else checked_hooks(hooks)
        metadata = options.pop("metadata", UNSET)
        pairs = () if metadata is UNSET else checked_metadata(metadata)
        defaults = self.defaults.derived(metadata=pairs, **options)
        before = self.derivation or Derivation(self.shown(""))
        derivation = before.further(self.defaults.spec.name, pairs, {**options, "hooks": hooks})
        return replace(self, defaults=defaults, hooks=found, derivation=derivation)

    @property
    def direct(self) -> bool:
        """Whether a prediction on named arrays is one request and one reply, which nothing watches.

        Unless a token comes before the request.
        """
        return not self.connection.target.rest and self.recording is None and not self.hooks

    def __getstate__(self) -> dict[str, object]:
        check_pickled(self.hooks)
        return self.__dict__

    def __deepcopy__(self, memo: object) -> Settings:
        return self

    def observer(self) -> Observer:
        """Make the observer of a client's calls."""
        target = self.connection.target
        transport, masking = "rest" if target.rest else "grpc", Masking(self.connection)
        return Observer(self.hooks, str(target), transport, masking, self.defaults.settled)

    def recorded(self) -> Recorded | None:
        """Make what records the calls; None without a recording."""
        if self.recording is None:
            return None
        from tfs_client._flows.recorded import Recorded  # few clients need it

        return Recorded(self.recording, self.connection.target)

    def shown(self, kind: str) -> str:
        """The repr of a client with these settings."""
        if self.derivation is not None:
            return f"{kind}{self.derivation}"
        target = self.connection.target
        name = self.defaults.spec.name
        where = repr(target.shown[0]) if len(target.shown) == 1 else repr(list(target.shown))
        return f"{kind}({where}{f', model={name!r}' if name else ''})"
