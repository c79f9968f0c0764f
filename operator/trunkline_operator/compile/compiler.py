"""`compile`: from the world to the table and a verdict on each resource.

Pure and deterministic: no clock, no history, no order of arrival. Whoever observed the same gets the same, byte for
byte. The work is done one object at a time by pure functions (`keys`, `credentials`, `groups`); here stands what they
have to know of each other.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from trunkline_operator.compile import admission, credentials, entries, groups, keys, ownership, policies
from trunkline_operator.compile.memo import Memo
from trunkline_operator.compile.result import Compiled, Verdict
from trunkline_operator.watch.world import Observed, Ref, SecretData, World
from trunkline_protocol import resources, table
from trunkline_protocol.table import Name
from trunkline_protocol.v1 import routing_pb2 as pb


def compile(world: World, memo: Memo | None = None, *, platform_namespaces: frozenset[str] | None = None) -> Compiled:
    """Compile everything.

    Args:
        world: What was observed. It is only read.
        memo: Of earlier compilations of this world; makes it fast and is seen in nothing else.
        platform_namespaces: Where ProviderCredentials, ModelGroups and RoutePolicies are taken from; None: everywhere.
    """
    memo = memo if memo is not None else Memo()
    broken: dict[Ref, Observed] = {}
    while True:
        try:
            return _Compilation(world, memo, platform_namespaces, broken).run()
        except _FaultError as fault:
            if fault.ref in broken:
                raise
            broken[fault.ref] = _as_invalid(world.objects[fault.ref], fault)


class _FaultError(Exception):
    """Compiling one object failed in a way that nobody has thought of. It must not take the others down."""

    def __init__(self, ref: Ref) -> None:
        super().__init__(str(ref))
        self.ref = ref


@contextmanager
def _about(ref: Ref) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise _FaultError(ref) from error


def _as_invalid(observed: Observed, fault: _FaultError) -> Observed:
    """The same object, to be held or denied as invalid ones are; only the kind of the error is told, it is ours."""
    said = f"Trunkline failed to compile this ({type(fault.__cause__).__name__}); please report it"
    return replace(observed, parsed=None, errors=(resources.FieldError("spec", said),))


@dataclass(frozen=True, slots=True)
class _Known:
    """A VirtualKey as compiled before. It holds as long as both objects are the very same.

    Attributes:
        holder: The Secret that it names.
        secret: What was in it; None: it was not there, so that its absence has to be looked at again.
    """

    observed: Observed
    holder: Ref | None
    secret: SecretData | None
    minted: keys.Minted


@dataclass(slots=True)
class _Compilation:
    """One run. ``accounts`` and ``applied`` are there for the groups, the rest is what comes out."""

    world: World
    memo: Memo
    platform_namespaces: frozenset[str] | None
    broken: Mapping[Ref, Observed]
    spaces: admission.Spaces = field(default_factory=dict)
    space_revisions: Mapping[str, int] = field(default_factory=dict)
    labels_matter: bool = False
    accounts: dict[Ref, credentials.Account] = field(default_factory=dict)
    applied: dict[Ref, policies.Applied] = field(default_factory=dict)
    resources: dict[Name, pb.Resource] = field(default_factory=dict)
    holds: set[Name] = field(default_factory=set)
    verdicts: dict[Ref, Verdict] = field(default_factory=dict)
    denied: dict[Name, Mapping[str, int]] = field(default_factory=dict)

    def run(self) -> Compiled:
        world = self.world
        labels = {name: namespace[1] for name, namespace in world.namespaces.items()}
        revisions = {name: namespace[0] for name, namespace in world.namespaces.items()}
        # The same objects as before while nothing has changed: whatever rests on them is compared with them often.
        self.spaces = self.memo.call("spaces", dict, labels)
        self.space_revisions = self.memo.call("space revisions", dict, revisions)
        ordered = self.memo.call("order", _in_order, tuple(world.objects))
        objects = world.objects if not self.broken else {**world.objects, **self.broken}
        self._compile_credentials([objects[ref] for ref in ordered["ProviderCredential"]])
        grouped = self._read_groups([objects[ref] for ref in ordered["ModelGroup"]])
        self._compile_policies([objects[ref] for ref in ordered["RoutePolicy"]], grouped)
        self._compile_groups(grouped)
        self._compile_keys([objects[ref] for ref in ordered["VirtualKey"]])
        marks = (
            world.sources(Ref("Namespace", "", name) for name in sorted(world.namespaces)) if self.labels_matter else {}
        )
        self.memo.turn()
        return Compiled(
            resources=self.resources,
            holds=frozenset(self.holds),
            verdicts=self.verdicts,
            denied=self.denied,
            marks=marks,
        )

    # ---- ProviderCredential -----------------------------------------------------------------------------------------

    def _compile_credentials(self, observed: Iterable[Observed]) -> None:
        memo, world = self.memo, self.world
        read = {}
        for each in observed:
            with _about(each.ref):
                arguments = each.ref, _credential(each), each.raw, each.errors
                read[each.ref] = each, memo.call(("basis", each.ref), credentials.basis, *arguments)
        prefixes = ownership.owners(
            (each, [each.ref.name]) for each, basis in read.values() if basis.claims and self._placed(each.ref)
        )
        wanted: dict[Ref, dict[str, None]] = {}
        users: dict[Ref, list[Ref]] = {}
        for ref, (each, basis) in read.items():
            placed = self._placed(ref)
            secrets = {name: Ref("Secret", ref.namespace, name) for name, _ in basis.entries}
            prefix_owner = prefixes.get(ref.name) if basis.claims else None
            with _about(ref):
                account = memo.call(
                    ("account", ref),
                    credentials.account,
                    ref,
                    basis,
                    each.errors,
                    placed,
                    tuple((name, entries.view(world, secret)) for name, secret in secrets.items()),
                    prefix_owner,
                    self._spaces(basis.selects),
                )
            self.accounts[ref] = account
            looked_at = [ref, *secrets.values()]
            if prefix_owner is not None and prefix_owner != ref:
                looked_at.append(prefix_owner)
            self._emit(ref, account, looked_at)
            for name, key in basis.entries if placed else ():
                wanted.setdefault(secrets[name], {})[key] = None
            for secret in secrets.values() if placed else ():
                users.setdefault(secret, []).append(ref)
        for secret, named in wanted.items():
            self._emit_secret(secret, tuple(named), users[secret])

    def _emit_secret(self, ref: Ref, named: tuple[str, ...], users: list[Ref]) -> None:
        name = Name(pb.TYPE_SECRET, f"{ref.namespace}/{ref.name}")
        body = self.memo.call(("secret", ref), credentials.secret, name, entries.view(self.world, ref), named)
        if body is not None:
            sources = self.world.sources([ref, *users])
            self.resources[name] = self.memo.call(name, table.resource, name, body, sources)

    # ---- ModelGroup -------------------------------------------------------------------------------------------------

    def _read_groups(self, observed: Iterable[Observed]) -> dict[Ref, tuple[Observed, groups.Basis]]:
        read = {}
        for each in observed:
            with _about(each.ref):
                arguments = each.ref, _group(each), each.raw, each.errors
                read[each.ref] = each, self.memo.call(("basis", each.ref), groups.basis, *arguments)
        return read

    def _compile_groups(self, read: Mapping[Ref, tuple[Observed, groups.Basis]]) -> None:
        memo = self.memo
        names = ownership.owners((each, basis.models) for each, basis in read.values() if self._placed(each.ref))
        # Names that differ only in case are different names, but only one of them is meant in any other case.
        folded = ownership.owners(
            (each, [model.lower() for model in basis.models]) for each, basis in read.values() if self._placed(each.ref)
        )
        for ref, (each, basis) in read.items():
            placed = self._placed(ref)
            lost = tuple((model, names[model]) for model in basis.models if names[model] != ref) if placed else ()
            exact_only = (
                tuple(model for model in basis.models if names[model] == ref != folded[model.lower()]) if placed else ()
            )
            terms = tuple(
                account.terms if (account := self.accounts.get(credential)) is not None else None
                for credential in basis.credentials
            )
            by_label = any(each_terms is not None and admission.selects(each_terms.consent) for each_terms in terms)
            applied = self.applied.get(ref, policies.NOT_APPLIED)
            with _about(ref):
                route = memo.call(
                    ("route", ref),
                    groups.routed,
                    ref,
                    basis,
                    each.errors,
                    placed,
                    each.created,
                    lost,
                    exact_only,
                    terms,
                    self.spaces.get(ref.namespace) if by_label else None,
                    self._spaces(basis.selects),
                    applied,
                )
            looked_at = [ref, *basis.credentials, *(owner for _, owner in lost), *applied.all]
            looked_at.extend(folded[model.lower()] for model in exact_only)
            if by_label:
                looked_at.append(Ref("Namespace", "", ref.namespace))
            self._emit(ref, route, looked_at)

    # ---- RoutePolicy ------------------------------------------------------------------------------------------------

    def _compile_policies(
        self, observed: Iterable[Observed], grouped: Mapping[Ref, tuple[Observed, groups.Basis]]
    ) -> None:
        memo = self.memo
        by_space: dict[str, list[tuple[Observed, policies.Basis]]] = {}
        for each in observed:
            with _about(each.ref):
                basis = memo.call(("basis", each.ref), policies.basis, each.ref, _route_policy(each), each.raw)
            by_space.setdefault(each.ref.namespace, []).append((each, basis))
        if not by_space:
            return
        groups_by_space: dict[str, list[policies.Group]] = {}
        for ref, (each, group) in grouped.items():
            if ref.namespace in by_space:
                groups_by_space.setdefault(ref.namespace, []).append(policies.Group(ref, each.labels, group.targets))
        for space, read in by_space.items():
            outcomes: Mapping[Ref, policies.Outcome] = {}
            if self._placed(read[0][0].ref):
                applied, outcomes = policies.apply(read, groups_by_space.get(space, ()))
                self.applied.update(applied)
            for each, basis in read:
                outcome = outcomes.get(each.ref, policies.Outcome())
                with _about(each.ref):
                    arguments = each.ref, basis, each.errors, self._placed(each.ref), outcome
                    policed = memo.call(("policy", each.ref), policies.policed, *arguments)
                self._emit(each.ref, policed, [each.ref, *dict.fromkeys(owner for _, owner in outcome.lost)])

    # ---- VirtualKey -------------------------------------------------------------------------------------------------

    def _compile_keys(self, observed: Iterable[Observed]) -> None:
        # There may be ten times as many of these as of everything else together: what has not changed costs little.
        verdicts, made, secrets = self.verdicts, self.resources, self.world.secrets
        minted: list[tuple[Observed, keys.Minted]] = []
        first: dict[bytes, Ref] = {}
        twice: set[bytes] = set()
        for each in observed:
            known = self.memo.kept.get(each.ref)
            if (
                known is not None
                and known.observed is each
                and (known.holder is None or (known.secret is not None and secrets.get(known.holder) is known.secret))
            ):
                self.memo.keep(each.ref, known)
                key = known.minted
            else:
                key = self._mint(each)
            minted.append((each, key))
            verdicts[each.ref] = key.verdict
            if key.resource is None:
                self.denied[key.name] = key.sources
            else:
                made[key.name] = key.resource
            if key.digest is not None and first.setdefault(key.digest, each.ref) is not each.ref:
                twice.add(key.digest)
        if twice:
            self._settle_conflicts([(each, key) for each, key in minted if key.digest in twice])

    def _mint(self, observed: Observed) -> keys.Minted:
        ref, parsed = observed.ref, _virtual_key(observed)
        wanted = keys.secret_entry(parsed, observed.raw)
        holder, secret, revision = None, None, 0
        if wanted is not None:
            holder = Ref("Secret", ref.namespace, wanted[0])
            secret, revision = entries.view(self.world, holder), self.world.seen(holder)
        with _about(ref):
            minted = self.memo.call(
                ("key", ref), keys.mint, ref, parsed, observed.errors, observed.revision, wanted, secret, revision
            )
        readable = secret if isinstance(secret, SecretData) else None
        self.memo.keep(ref, _Known(observed, holder, readable, minted))
        return minted

    def _settle_conflicts(self, rivals: list[tuple[Observed, keys.Minted]]) -> None:
        winners = ownership.owners((each, [key.digest]) for each, key in rivals)
        for each, key in rivals:
            winner = winners[key.digest]
            if winner != each.ref:
                self.verdicts[each.ref] = keys.conflicted(key, winner)
                self.denied[key.name] = {**key.sources, **self.world.sources([winner])}
                del self.resources[key.name]

    # ---- all of them ------------------------------------------------------------------------------------------------

    def _placed(self, ref: Ref) -> bool:
        return self.platform_namespaces is None or ref.namespace in self.platform_namespaces

    def _spaces(self, matter: bool) -> admission.Spaces:
        """All namespaces, or none where their labels do not matter, so that they change nothing there."""
        self.labels_matter |= matter
        return self.spaces if matter else _NO_SPACES

    def _emit(
        self, ref: Ref, done: credentials.Account | groups.Routed | policies.Policed, looked_at: list[Ref]
    ) -> None:
        self.verdicts[ref] = done.verdict
        if done.verdict.held:
            self.holds.add(done.name)
            return
        sources = self.world.sources(looked_at)
        revisions = self.space_revisions if done.admitted else _NO_REVISIONS
        if done.body is None:
            self.denied[done.name] = sources
        else:
            self.resources[done.name] = self.memo.call(
                done.name, _resource, done.name, done.body, sources, done.admitted, revisions
            )


_NO_SPACES: admission.Spaces = {}
_NO_REVISIONS: Mapping[str, int] = {}


def _resource(
    name: Name,
    body: pb.Route | pb.Upstream | pb.Policy,
    sources: Mapping[str, int],
    admitted: tuple[str, ...],
    space_revisions: Mapping[str, int],
) -> pb.Resource:
    """Wrap ``body``, which rests on ``sources`` and on the labels of the namespaces in ``admitted``."""
    spaces = {str(Ref("Namespace", "", space)): space_revisions[space] for space in admitted}
    return table.resource(name, body, {**sources, **spaces})


def _in_order(refs: tuple[Ref, ...]) -> dict[str, list[Ref]]:
    """The refs by kind, each kind in order, whatever the order was in which they were observed."""
    by_kind: dict[str, list[Ref]] = {kind: [] for kind in resources.KINDS}
    for ref in refs:
        by_kind[ref.kind].append(ref)
    return {kind: sorted(each) for kind, each in by_kind.items()}


def _credential(observed: Observed) -> resources.ProviderCredential | None:
    return observed.parsed if isinstance(observed.parsed, resources.ProviderCredential) else None


def _group(observed: Observed) -> resources.ModelGroup | None:
    return observed.parsed if isinstance(observed.parsed, resources.ModelGroup) else None


def _route_policy(observed: Observed) -> resources.RoutePolicy | None:
    return observed.parsed if isinstance(observed.parsed, resources.RoutePolicy) else None


def _virtual_key(observed: Observed) -> resources.VirtualKey | None:
    return observed.parsed if isinstance(observed.parsed, resources.VirtualKey) else None
