# Made from clients/openapi.json by scripts/clients.sh generate: not to be edited.

from __future__ import annotations

from typing import Literal, TypeAlias

from typing_extensions import NotRequired, TypedDict


class AdmitChecker(TypedDict, closed=True):
    """
    `POST /v1/checker-tokens`: a checker may come in.
    """

    expires_s: NotRequired[int | None]
    """
    Seconds for which the token works, 1 to [`crate::limits::JOIN_TOKEN_S_MAX`]; a quarter of an hour if it is not
    given.
    """
    licence: NotRequired[str | None]
    """
    The licence that it acts for, by id: it has to show that the owner delegated it.
    """
    operator: NotRequired[str]
    """
    Who runs it, at most [`crate::limits::OPERATOR_BYTES_MAX`] bytes. It never checks their nodes.
    """


class Alive(TypedDict):
    """
    A node is there.
    """

    signature: str
    """
    Its signature over what `core/proof` has as `alive::message`, 128 hex digits.
    """


Archive: TypeAlias = bytes
"""
A tar archive.
"""


class AskAlive(TypedDict, closed=True):
    """
    `POST /v1/nodes/{node}/alive`: a checker asks whether a node is there.
    """

    checker: str
    """
    The checker's key, by id.
    """
    nonce: str
    """
    What the checker made up, 64 hex digits.
    """
    round: int
    """
    The round.
    """
    value: str
    """
    The round's value.
    """


class Asset(TypedDict, closed=True):
    """
    A read-only file, fetched by digest. A model of several files is several assets below one path.
    """

    digest: str
    """
    `sha256:` and 64 hexadecimal digits: what it has to be, and its name in the node's cache.
    """
    path: str
    """
    Where the container has it. Absolute.
    """
    size_mib: int
    """
    Its size, MiB, rounded up: what is claimed of the cache, and where the transfer is cut off.
    """
    url: str
    """
    Where it is fetched from, https.
    """


AuditAction: TypeAlias = Literal['app-add', 'app-roll', 'app-roll-back', 'bootstrap', 'checker-admit', 'checker-join', 'checker-revoke', 'licence-give', 'licence-revoke', 'key-create', 'key-rotate', 'key-revoke', 'login', 'logout', 'directory-key-put', 'directory-key-revoke', 'dispute-create', 'receipt-revoke', 'stake-move', 'join-token-create', 'node-drain', 'node-undrain', 'node-revoke', 'node-probe', 'node-vet', 'node-unvet', 'registry-login', 'registry-remove', 'image-policy', 'webhook-set', 'webhook-rotate', 'webhook-remove', 'session-end', 'session-exec', 'session-exec-end', 'session-logs', 'session-files-get', 'session-files-put', 'tenant-create', 'tenant-change', 'volume-delete']
"""
What was done, for the audit log.
"""


AuditOutcome: TypeAlias = Literal['done', 'denied']
"""
What came of it.
"""


class Behind(TypedDict):
    """
    Placements that another node was better for.
    """

    part: str
    """
    The part of the score: `rtt`, `image`, `desktop`, `gpu`, `load`, `uplink`, `receipts`, `price` or `spread`;
    `chance` among equals.
    """
    placements: int
    """
    How many they are.
    """


class Checker(TypedDict):
    """
    A checker as everybody may see it.
    """

    joined_s: int
    """
    Since when it can be assigned, Unix seconds.
    """
    key: str
    """
    Its key.
    """
    key_id: str
    """
    Its key, by id.
    """
    licence: NotRequired[str | None]
    """
    The licence that it acts for, by id.
    """
    operator: str
    """
    Who runs it.
    """
    plays_since_s: NotRequired[int | None]
    """
    Since when it has said each time that it plays streams, Unix seconds: it has a decoder.
    """
    revoked_s: NotRequired[int | None]
    """
    Since when not any more, Unix seconds.
    """
    running: bool
    """
    Whether a copy of it was heard of lately.
    """


class CheckerAgreement(TypedDict):
    """
    How often a checker said what a round came to, of the checks that it issued in the last days.
    """

    agreed: int
    """
    Of those, rounds that came to what it said.
    """
    days: int
    """
    How many days.
    """
    decided: int
    """
    Rounds that are decided, and of which it said pass or fail from a seat of its own.
    """
    refuted: int
    """
    Of those, rounds in which execution refuted it.
    """


class CheckerCertificate(TypedDict):
    """
    What a checker shows in TLS, and where.
    """

    addresses: list[str]
    """
    Where the listener is that takes it, each as `HOST:PORT`. They lead to the same network.
    """
    ca: str
    """
    The CA certificates to believe, PEM.
    """
    certificate: str
    """
    Its certificate, PEM. It holds for a day.
    """


class CheckerList(TypedDict):
    """
    `GET /v1/checkers`.
    """

    checkers: list[Checker]
    """
    All that ever came in, oldest first.
    """


class ClusterLack(TypedDict):
    """
    What a cluster lacks: its replicas are placed together at one site, or not at all.
    """

    best: int
    """
    How many of them the best site has room for.
    """
    most: NotRequired[int | None]
    """
    How many the best site would have room for if nothing ran there. Fewer than its replicas: it is placed
    nowhere, however long it waits.
    """
    replicas: int
    """
    How many replicas it has.
    """


ContainerRuntime: TypeAlias = Literal['runc', 'runsc', 'kata']
"""
How a container is kept apart from the node's kernel: the label of the OCI runtime.
"""


class Control(TypedDict, closed=True):
    """
    One line of the controls card.
    """

    action: str
    """
    What it does.
    """
    keys: str
    """
    What to press, such as `W A S D`.
    """


class Copied(TypedDict):
    """
    What an upload did.
    """

    bytes: int
    """
    Bytes of files.
    """
    entries: int
    """
    Files, directories and links.
    """
    links_skipped: NotRequired[int]
    """
    Links that lead out of what was copied, and were left out.
    """


class CreateEndpoint(TypedDict, closed=True):
    """
    `POST /v1/sessions/{id}/endpoint`: asks for the right to talk to one port of a job.
    """

    expires_s: NotRequired[int | None]
    """
    Seconds for which the ticket works; an hour where it is left out.
    """
    methods: NotRequired[list[str] | None]
    """
    The methods that the ticket is for, such as `GET`, `HEAD` and `OPTIONS`; all where it is left out. A change
    of the protocol, such as to WebSocket, goes by the name of `CONNECT`, for what comes after it may be
    anything.
    """
    path: NotRequired[str | None]
    """
    The path that the ticket is for, with all below it, such as `/v1`; all where it is left out. Segments of
    letters, digits and `-._~`, none of them `.` or `..`. Requests with paths that programs read in more than one
    way (`//`, `..`, `%2e`, `%2f`, ...) are refused.
    """
    port: NotRequired[str | None]
    """
    The port's name; the job's first one where it is left out.
    """


class CreateJoinToken(TypedDict, closed=True):
    """
    `POST /v1/join-tokens`: a new node may come in.
    """

    expires_s: NotRequired[int | None]
    """
    Seconds for which the token works, 1 to [`crate::limits::JOIN_TOKEN_S_MAX`]; a quarter of an
    hour if it is not given.
    """
    name: NotRequired[str]
    """
    The node's name for people, at most [`crate::limits::NODE_NAME_BYTES_MAX`] bytes; the node's
    own if it is empty.
    """
    operator: NotRequired[str]
    """
    Who runs it, at most [`crate::limits::OPERATOR_BYTES_MAX`] bytes; who runs the network if it is empty. No
    checker of theirs checks it.
    """
    region: NotRequired[str]
    """
    Its region; the node's own if it is empty.
    """


class CreateProbe(TypedDict, closed=True):
    """
    The body of `POST /v1/probes`.
    """

    gpu: NotRequired[str | None]
    """
    Which of the node's GPUs, by its own id; the first that it proves without it.
    """
    node: str
    """
    The node to probe.
    """


class CreateRevocation(TypedDict, closed=True):
    """
    The body of `POST /v1/revocations`: `receipt`, or `key` and `from_s`.
    """

    from_s: NotRequired[int | None]
    """
    From when on, Unix seconds, by what its receipts say of themselves.
    """
    key: NotRequired[str | None]
    """
    The key of which what it signed is void, by its id, 64 hex digits.
    """
    reason: str
    """
    Why, as a sentence of at most 200 bytes.
    """
    receipt: NotRequired[int | None]
    """
    The receipt, by its place in the log.
    """


class CreateTicket(TypedDict, closed=True):
    """
    `POST /v1/sessions/{id}/tickets`: the owner asks for the right to attach once.
    """

    take_over: NotRequired[bool]
    """
    Whether to end another attachment that holds the session. Without it such a session answers
    `attached-elsewhere`.
    """


class CreateWatchLink(TypedDict, closed=True):
    """
    `POST /v1/sessions/{id}/watch-links`: the owner lets others watch.
    """

    expires_s: int
    """
    Seconds for which the link works, 1 to [`crate::limits::WATCH_LINK_S_MAX`]. It also ends with
    its session.
    """


DeliveryState: TypeAlias = Literal['waiting', 'delivered', 'dropped']
"""
Where a delivery is.
"""


class DeviceLogin(TypedDict):
    """
    Answer to `POST /v1/login/device`: a login that is finished in a browser elsewhere (RFC 8628).
    """

    device_code: str
    """
    What to poll with. Whoever has it gets the login.
    """
    expires_s: int
    """
    Seconds until it comes to nothing.
    """
    interval_s: int
    """
    Seconds between two polls, at least.
    """
    user_code: str
    """
    What the person compares, or types.
    """
    verification_uri: str
    """
    Where the person types it.
    """
    verification_uri_complete: NotRequired[str | None]
    """
    The same with the code in it, where the provider has that.
    """


class DeviceLoginState1(TypedDict):
    """
    Nobody has agreed yet.
    """

    slower: bool
    """
    Poll less often: five seconds more between two.
    """
    state: Literal['pending']


class DeviceLoginState2(TypedDict):
    """
    Somebody has.
    """

    secret: str
    """
    The login's secret, to be sent as `Authorization: Bearer`. It is told this once.
    """
    state: Literal['done']


class DeviceLoginState3(TypedDict):
    """
    Somebody has refused.
    """

    state: Literal['denied']


class DeviceLoginState4(TypedDict):
    """
    It took too long, or there is no such login.
    """

    state: Literal['expired']


DeviceLoginState: TypeAlias = DeviceLoginState1 | DeviceLoginState2 | DeviceLoginState3 | DeviceLoginState4
"""
What became of a login.
"""


class Directory(TypedDict):
    """
    Whose keys are whose.
    """

    directory_key: str
    """
    The key that signed it, 64 hex digits. Whoever takes it from here believes this broker.
    """
    envelope: str
    """
    The newest edition, an envelope.
    """
    log_key: str
    """
    The key of the log's checkpoints, as policies have it (c2sp.org/signed-note).
    """
    policy: str
    """
    The operator's own policy (c2sp.org/tlog-policy): its log, and the witnesses that it asks.
    """


class DisplayMode(TypedDict):
    """
    A display: size in pixels, rate in Hz.
    """

    height: int
    """
    Pixels.
    """
    hz: int
    """
    Frames a second that the display asks of the app.
    """
    width: int
    """
    Pixels.
    """


DisplayProtocol: TypeAlias = Literal['wayland', 'x11']
"""
The display protocol an app speaks.
"""


class Dispute(TypedDict):
    """
    A dispute.
    """

    deadline_s: int
    """
    Until when it is decided, Unix seconds: on what is shown until then.
    """
    index: int
    """
    Its place in the log.
    """
    leaf: str
    """
    Its leaf.
    """
    receipt: int
    """
    The receipt that is contested.
    """
    verdict: NotRequired[int | None]
    """
    The verdict that ended it, by its place in the log; none while it is open.
    """


class DrainNode(TypedDict, closed=True):
    """
    `POST /v1/nodes/{node}/drain`: what becomes of what it runs. Without a body, or with an empty one, that
    goes on.
    """

    reason: NotRequired[str]
    """
    Why, for owners of jobs and the audit log; at most [`crate::limits::RECLAIM_REASON_BYTES_MAX`] bytes.
    """
    reclaim_s: NotRequired[int | None]
    """
    Seconds until the sessions that it runs end as `preempted`, 1 to
    [`crate::limits::RECLAIM_S_MAX`]; their owners are told now.
    """


class Egress(TypedDict, closed=True):
    """
    What a job may reach. Private ranges and metadata addresses it never reaches.
    """

    allow: NotRequired[list[str]]
    """
    Names with a port, such as `pypi.org:443`, or networks, such as `203.0.113.0/24`. Empty: none.
    """
    internet: NotRequired[bool]
    """
    Whether it may reach any public address, in place of a list.
    """


EndReason: TypeAlias = Literal['player-ended', 'app-exited', 'app-crashed', 'app-out-of-memory', 'app-start-failed', 'start-timeout', 'image-missing', 'runtime-failed', 'desktop-violation', 'worker-crashed', 'encoder-failed', 'idle-timeout', 'time-limit', 'detached-timeout', 'job-done', 'job-failed', 'job-out-of-memory', 'job-start-timeout', 'job-unhealthy', 'asset-missing', 'volume-lost', 'queue-timeout', 'budget-reached', 'preempted', 'cluster-ended', 'node-lost', 'node-drained', 'internal']
"""
Why a session ended.
"""


class EvidenceName(TypedDict, closed=True):
    """
    A piece of evidence by its name.
    """

    bytes: int
    """
    How many bytes, at most 65,536.
    """
    sha256: str
    """
    SHA-256 of its bytes, 64 hex digits.
    """


ExcludedBy: TypeAlias = Literal['region', 'out-of-reach', 'gpu-class', 'vram', 'no-encoder', 'no-jobs', 'runtime', 'gpus', 'gpu-model', 'gpu-memory', 'gpu-memory-unproved', 'gpu-capability', 'gpus-sick', 'disk', 'trust', 'too-small', 'price', 'image-missing', 'offline', 'draining', 'failed-checks', 'outbox-full', 'slots-taken', 'cpu-taken', 'memory-taken', 'uplink-taken', 'disk-taken', 'gpus-taken', 'unproven', 'refused', 'held', 'too-far']
"""
A constraint that a node fails, in the order in which they are checked.
"""


class GiveLicence(TypedDict, closed=True):
    """
    `POST /v1/licences`: a licence for its owner's key.
    """

    key: str
    """
    The owner's key.
    """
    owner: str
    """
    Whose it is, at most [`crate::limits::OPERATOR_BYTES_MAX`] bytes.
    """


GpuClass: TypeAlias = Literal['none', 'render', 'render-encode']
"""
What kind of GPU an app needs, or a node has.
"""


class GpuMemory(TypedDict):
    """
    How much memory of a GPU receipts stand for.
    """

    gpu: str
    """
    The GPU, by its own id.
    """
    proved_mib: int
    """
    MiB: what a check had filled, which is 85 % of it.
    """


class GpuNeed(TypedDict, closed=True):
    """
    The GPUs of a job, each whole or a MIG slice, all on one node.
    """

    compute_capability: NotRequired[int]
    """
    Lowest CUDA compute capability, times ten: 80 for 8.0.
    """
    count: NotRequired[int]
    """
    How many.
    """
    model: NotRequired[str | None]
    """
    Part of the model's name as NVML has it, such as `H100`; any model otherwise.
    """
    vram_mib: NotRequired[int]
    """
    Memory that each of them has at least, MiB.
    """


class GpuProcess(TypedDict):
    """
    A process that computes on a GPU: of the session that has the GPU, if one has.
    """

    pid: int
    """
    As the node's host numbers it.
    """
    vram_mib_used: NotRequired[int | None]
    """
    Memory that it has there, MiB.
    """


class GpuReading(TypedDict):
    """
    One look at a GPU, or at a MIG slice of one.
    """

    busy_percent: NotRequired[int | None]
    """
    Share of the last moments in which something was computed, per cent.
    """
    ecc_uncorrected: NotRequired[int | None]
    """
    Errors that ECC could not correct since the driver was loaded; absent where there is no ECC.
    """
    ecc_uncorrected_ever: NotRequired[int | None]
    """
    The same since the GPU was made.
    """
    processes: NotRequired[list[GpuProcess] | None]
    """
    The processes that compute on it, most memory first; at most [`GPU_PROCESSES_MAX`]. Absent where the driver
    does not tell.
    """
    vram_mib_used: NotRequired[int | None]
    """
    Memory that is allocated, MiB.
    """
    xids: NotRequired[list[int]]
    """
    The driver's error numbers (XIDs) since the node's agent started, each once, lowest first; at most
    [`GPU_XIDS_MAX`].
    """


class Health(TypedDict, closed=True):
    """
    A health check: `GET path` answers 200 to 399.
    """

    every_s: NotRequired[int]
    """
    Seconds between two checks.
    """
    failures: NotRequired[int]
    """
    Failures in a row after which a ready job is unhealthy, and is restarted or ends.
    """
    path: NotRequired[str]
    """
    Path and query.
    """
    timeout_s: NotRequired[int]
    """
    Seconds that an answer may take.
    """


class IceServer(TypedDict):
    """
    A TURN server, spelled as `RTCPeerConnection` takes it.
    """

    credential: str
    """
    Base64 of the HMAC-SHA1 of `username` by the secret that the broker and the server share.
    """
    urls: list[str]
    """
    `turn:` and `turns:` URIs (RFC 7065) that take the same credential.
    """
    username: str
    """
    When the credential ends, Unix seconds, a colon, and what it was given for.
    """


class ImageFault(TypedDict):
    """
    An image that a node was to fetch and could not.
    """

    detail: str
    """
    Why, for the operator.
    """
    image: str
    """
    Which.
    """


class ImagePolicy(TypedDict, closed=True):
    """
    `PUT` and `GET /v1/image-policy`: which images a tenant's jobs may have.
    """

    allow: NotRequired[list[str]]
    """
    Registry and repository, or the folders that they begin with: `registry.example/team` allows
    `registry.example/team/server`. Empty: any image.
    """
    key: NotRequired[str | None]
    """
    PEM of the ECDSA P-256 public key (`cosign.pub`) that has to have signed an image; any
    image without.
    """


class JobTime(TypedDict, closed=True):
    """
    When a job ends by itself, seconds.
    """

    idle_s: NotRequired[int]
    """
    With no request for so long it ends; 0: never, it has a maximum in any case.
    """
    max_s: NotRequired[int]
    """
    It ends after so long in any case.
    """
    queue_s: NotRequired[int]
    """
    It waits for a place for so long, then it ends as not placed; 0: until it is ended.
    """
    start_s: NotRequired[int]
    """
    It has to be healthy so long after its container started.
    """
    stop_s: NotRequired[int]
    """
    Between SIGTERM and SIGKILL.
    """


class JobVolume(TypedDict, closed=True):
    """
    A directory that outlives the job. It belongs to the tenant and stays on the node where the first
    job that named it ran: the next ones run there, one at a time.
    """

    name: str
    """
    Its name; the next job of the tenant that names it finds what is in it.
    """
    path: str
    """
    Where the container has it. Absolute.
    """
    size_mib: int
    """
    Its size, MiB. One that is there grows if this is more, and never shrinks.
    """


class JoinChecker(TypedDict, closed=True):
    """
    `POST /v1/checkers`: a checker comes in.
    """

    delegation: NotRequired[str | None]
    """
    The delegation of the licence, as `checker delegate` prints it.
    """
    key: str
    """
    Its key.
    """
    request: str
    """
    A PKCS #10 request in PEM, of a key for TLS alone. Only that key counts.
    """
    signature: str
    """
    Its signature over what `core/proof` has as `membership::join`, 128 hex digits.
    """
    token: str
    """
    The token.
    """


class KeyWindow(TypedDict, closed=True):
    """
    A key of the directory, and when it counts.
    """

    from_s: int
    """
    From when it counts, Unix seconds.
    """
    licence: NotRequired[str | None]
    """
    The licence that was delegated to it, by key id.
    """
    operator: str
    """
    Who runs it.
    """
    role: str
    """
    `witness`, `broker`, `checker`, `node` or `referee`.
    """
    until_s: int
    """
    Until when, Unix seconds.
    """


class LatencyStep(TypedDict):
    """
    A latency step of the policy.
    """

    from_ms: int
    """
    It begins after so much waiting, milliseconds.
    """
    number: int
    """
    Which one, from 1.
    """
    of: int
    """
    Of how many.
    """
    rtt_ms_max: int
    """
    Nodes up to this round trip are taken, milliseconds.
    """
    until_ms: NotRequired[int | None]
    """
    It ends after so much waiting, milliseconds; null for the last one.
    """


class Launch(TypedDict, closed=True):
    """
    How an app runs: an image and a command in it.
    """

    command: list[str]
    """
    Program and arguments.
    """
    display: NotRequired[DisplayProtocol]
    """
    The display protocol the app speaks.
    """
    env: NotRequired[dict[str, str]]
    """
    Environment, in addition to the session's own (`WAYLAND_DISPLAY`, `PULSE_SERVER`,
    `XDG_RUNTIME_DIR`, `HOME`).
    """
    image: str
    """
    Image reference. Built-in apps are `nearlight/<name>:<tag>`, built from
    `configs/images/<name>/`; the sandbox takes the root file system of the same name.
    """


LogStream: TypeAlias = Literal['stdout', 'stderr']
"""
Where a line of a log was written to.
"""


class LoginOptions(TypedDict):
    """
    `GET /v1/login/options`: how one can get in.
    """

    guests: bool
    """
    Whether one can play as a guest.
    """
    login_path: NotRequired[str | None]
    """
    Where players log in, if they can: `/v1/login`.
    """


class Needs(TypedDict, closed=True):
    """
    What an app needs of a node.
    """

    cpu_milli: NotRequired[int]
    """
    CPU, thousandths of a core: what is claimed and the container's limit.
    """
    display: NotRequired[DisplayMode]
    """
    Display size and rate the app is started with.
    """
    gpu: NotRequired[GpuClass]
    """
    GPU class.
    """
    kbps_min: NotRequired[int]
    """
    Uplink that is set aside for a session on its node, kbit/s: with less than this it is not
    worth playing, so it is not started. What is left of the uplink, sessions share fairly.
    """
    mem_mib: NotRequired[int]
    """
    Memory, MiB: what is claimed and the container's limit.
    """
    network: NotRequired[bool]
    """
    Whether the app may reach a network. Off unless an app declares it.
    """
    tmp_mib: NotRequired[int]
    """
    Shared memory and temporary files, MiB.
    """
    vram_mib: NotRequired[int]
    """
    Memory of the node's GPU, MiB, which then has to be of a class: it is started where a GPU for apps has as much
    in all. It is not set aside: sessions of one GPU share its memory.
    """


NodeGate: TypeAlias = Literal['unchecked', 'unproven', 'proven', 'failing']
"""
What a node's receipts open to it.
"""


class NodeRank(TypedDict):
    """
    How a node stands, in short.
    """

    gate: NodeGate
    """
    What its receipts open to it.
    """
    rank_permille: int
    """
    Its rank, thousandths (docs/proof.md has the formula).
    """


NodeStatus: TypeAlias = Literal['online', 'draining', 'offline', 'revoked']
"""
Whether a node can be used.
"""


class NodeVerdict(TypedDict):
    """
    What a round of checks came to.
    """

    at_s: int
    """
    When the newest of its receipts was issued, Unix seconds.
    """
    finding: str
    """
    What counts: `pass`, `fail`, or `inconclusive`.
    """
    gpu: str
    """
    The GPU, by its own id.
    """
    liars: list[str]
    """
    The keys whose word was refuted.
    """
    receipts: list[int]
    """
    Its receipts, by their places in the log.
    """
    round: int
    """
    Round of the beacon.
    """
    score_permille: int
    """
    Thousandths of the reference.
    """
    state: str
    """
    `open` (too few said something certain), `passed`, `failed`, `split` (they contradict each other) or
    `settled` (a referee has decided).
    """


NoticeType: TypeAlias = Literal['session.ready', 'session.ended', 'session.moving', 'session.preempted', 'webhook.test']
"""
What a notice is about.
"""


OnFailure: TypeAlias = Literal['end', 'restart']
"""
What the end of one replica means for all.
"""


Outcome1 = TypedDict(
    'Outcome1',
    {
        'is': Literal['alive'],
        'nonce': str,
        'signature': str,
    },
)


Outcome2 = TypedDict(
    'Outcome2',
    {
        'is': Literal['receipt'],
        'leaf': str,
    },
)


Outcome3 = TypedDict(
    'Outcome3',
    {
        'is': Literal['missed'],
        'why': str,
    },
)


Outcome: TypeAlias = Outcome1 | Outcome2 | Outcome3
"""
What came of an assignment.
"""


class Placed(TypedDict):
    """
    Where a receipt stands.
    """

    index: int
    """
    Its place in the log, from zero.
    """
    leaf: str
    """
    Its leaf: what later receipts name it by, 64 hex digits.
    """


class Placement1(TypedDict):
    """
    No node was looked for yet, or by a broker that has started again since.
    """

    outcome: Literal['unknown']


class PlayerSaid(TypedDict, closed=True):
    """
    `POST /v1/sessions/{id}/quality`: what a player's program has measured so far. Each replaces the one
    before of the same key.
    """

    key: NotRequired[str]
    """
    The key that the program made for the session, 64 hex digits; empty if it can make none.
    """
    last: NotRequired[bool]
    """
    Whether none follows.
    """
    sample: str
    """
    What, in its one text.
    """
    signature: NotRequired[str]
    """
    Its signature over the text, 128 hex digits; empty if it has none.
    """


class Points(TypedDict):
    """
    A score by its parts, 100 points to the millisecond of round trip. The node with the fewest is
    best; one of the best few is taken at random.
    """

    desktop: NotRequired[int]
    """
    For a desktop that has to be started, where a ready one would do.
    """
    gpu: int
    """
    For a GPU that the session does not need.
    """
    image: int
    """
    For an image that has to be fetched first.
    """
    load: int
    """
    For slots or CPU that are taken, whichever is more.
    """
    price: int
    """
    For its price.
    """
    receipts: int
    """
    For what the node lacks of a full rank by receipts.
    """
    rtt: int
    """
    For the round trip.
    """
    spread: int
    """
    For sessions of the same tenant that the node's operator has already.
    """
    total: int
    """
    All together.
    """
    uplink: int
    """
    For the uplink that is set aside.
    """


class PollDeviceLogin(TypedDict, closed=True):
    """
    `POST /v1/login/device/poll`.
    """

    device_code: str
    """
    What the login began with.
    """


PortAccess: TypeAlias = Literal['ticket', 'public', 'cluster']
"""
Who may use a port.
"""


Priority: TypeAlias = Literal['low', 'normal', 'high']
"""
How early in the queue a tenant's members stand.
"""


ProblemType: TypeAlias = Literal['attached-elsewhere', 'bad-request', 'body-too-large', 'budget-reached', 'evidence-expired', 'forbidden', 'idempotency-conflict', 'internal', 'invalid-offer', 'job-unreachable', 'job-not-ready', 'join-token-invalid', 'link-ended', 'log-unavailable', 'method-not-allowed', 'node-revoked', 'name-taken', 'node-unreachable', 'not-found', 'origin-refused', 'provider-unreachable', 'quota-exceeded', 'receipt-refused', 'save-elsewhere', 'session-ended', 'session-lost', 'session-not-ready', 'too-many-requests', 'ticket-invalid', 'unauthenticated', 'unsupported-media-type']
"""
What went wrong, as a program can tell. On the wire a URI:
`https://nearlight.dev/problems/<name>`.
"""


class ProverOffer(TypedDict):
    """
    What a node can prove.
    """

    busy: bool
    """
    Whether it would refuse at this moment: a session has what is to be probed, or another probe has.
    """
    card_mib: NotRequired[int | None]
    """
    Memory that the GPU has, MiB, as its driver says; none of a CPU, nor where no driver says it.
    """
    gpus: list[str]
    """
    What it has, by its own ids: `cpu`, or the UUIDs of GPUs.
    """
    mem_mib: str
    """
    Memory that a probe of it may take, MiB.
    """
    receipt_key: str
    """
    The key that it signs with: Ed25519, 64 hex digits.
    """
    work: str
    """
    Work that a probe may be, in multiplications or about as much.
    """


class Readiness(TypedDict):
    """
    Whether the broker can take requests.
    """

    nodes_online: int
    """
    Nodes that take sessions now.
    """


class Receipt(TypedDict):
    """
    A receipt with its proof.
    """

    envelope: str
    """
    The envelope, as it stands there.
    """
    index: int
    """
    Its place in the log.
    """
    proof: str
    """
    Its `.tlog-proof` (c2sp.org/tlog-proof).
    """


class ReceiptSummary(TypedDict):
    """
    A receipt in a list.
    """

    about: str
    """
    What it is about: the key id of a node, a session's commitment, the leaf of another receipt, or a key id.
    """
    index: int
    """
    Its place in the log.
    """
    issued_at_s: int
    """
    When it says that it was issued, Unix seconds.
    """
    issuer: str
    """
    The key id of whoever issued it.
    """
    kind: str
    """
    Its kind, such as `porc/v1`.
    """
    leaf: str
    """
    Its leaf.
    """


class RegionRtt(TypedDict, closed=True):
    """
    A round trip that the caller measured.
    """

    ms: int
    """
    Milliseconds; counted as 1 to [`crate::limits::RTT_MS_MAX`].
    """
    region: str
    """
    To this region.
    """


RegionState: TypeAlias = Literal['room', 'queue', 'offline']
"""
Whether something can be played in a region.
"""


class RegistryLogin(TypedDict, closed=True):
    """
    `PUT /v1/registries/{registry}`. Nothing that is printed shows the password.
    """

    password: str
    """
    Their password, or a token that stands for one. It is in no answer.
    """
    username: str
    """
    Who logs in.
    """


class RenewChecker(TypedDict, closed=True):
    """
    `POST /v1/checkers/me/certificate`: the next certificate.
    """

    request: str
    """
    A PKCS #10 request in PEM. Only its key counts.
    """


class Report(TypedDict, closed=True):
    """
    `POST /v1/checkers/me/reports`: what came of an assignment.
    """

    duty: str
    """
    Its assignment's.
    """
    node_key_id: str
    """
    The node's receipt key, by id.
    """
    outcome: Outcome
    """
    What came of it.
    """
    round: int
    """
    The round.
    """


class Resources(TypedDict, closed=True):
    """
    What a job gets of its node: what is claimed, and what is enforced.
    """

    cpu_milli: NotRequired[int]
    """
    CPU, thousandths of a core.
    """
    disk_mib: NotRequired[int]
    """
    Writable disk of the container beside volumes and assets, MiB. A node that cannot enforce it
    does not take the job.
    """
    gpu: NotRequired[GpuNeed | None]
    mem_mib: NotRequired[int]
    """
    Memory, MiB, swap included.
    """
    pids: NotRequired[int]
    """
    Processes and threads.
    """
    shm_mib: NotRequired[int]
    """
    `/dev/shm`, MiB; counts as memory. PyTorch's data loaders want some.
    """


RestartPolicy: TypeAlias = Literal['never', 'on-failure', 'always']
"""
When a job is started again.
"""


class Revocation(TypedDict):
    """
    A revocation.
    """

    index: int
    """
    Its place in the log.
    """
    leaf: str
    """
    Its leaf.
    """
    subject: str
    """
    What is void: the leaf of a receipt, or a key id.
    """


RewardState: TypeAlias = Literal['held', 'paid', 'void']
"""
Where a reward is.
"""


Role: TypeAlias = Literal['guest', 'player', 'tenant', 'operator', 'admin']
"""
What a caller is. What each may do is one table: session-broker/src/access.rs.
"""


class RollOut(TypedDict, closed=True):
    """
    `PUT /v1/apps/{app}/rollout`: who gets a version.
    """

    metros: NotRequired[list[str]]
    """
    Sessions that are placed in these metros, beside what was staged before; without any, all
    sessions everywhere, and nothing is staged any more.
    """
    version: int
    """
    Which.
    """


class RotateKey(TypedDict, closed=True):
    """
    `POST /v1/keys/{id}/rotate`.
    """

    overlap_s: NotRequired[int | None]
    """
    Seconds for which the former secret goes on working: a day without it, 0 for not at all, at most
    [`crate::limits::KEY_OVERLAP_S_MAX`].
    """


RttFrom: TypeAlias = Literal['measured', 'sessions', 'distance']
"""
Where a round trip comes from, the best source first.
"""


SavesWish: TypeAlias = Literal['ask', 'wait', 'without']
"""
What to do where a player's saves are on a node that cannot run the app now. Where it can, the session
goes on there, unless it is to begin without them.
"""


Scope: TypeAlias = Literal['admin', 'apps:write', 'endpoint', 'keys:read', 'keys:write', 'nodes:probe', 'nodes:read', 'nodes:write', 'sessions:enter', 'sessions:read', 'sessions:write', 'usage:read']
"""
What a key may be used for, within what its role allows.
"""


SessionKind: TypeAlias = Literal['app', 'job']
"""
What a session runs.
"""


class SessionReceipt(TypedDict):
    """
    `GET /v1/sessions/{id}/receipt`.
    """

    agreement: str
    """
    `agree`, `disagree` or `edge-only`: whether player and node measured the same.
    """
    index: int
    """
    Its place in the log: `GET /v1/receipts/{index}` has it with its proof.
    """
    leaf: str
    """
    Its leaf, 64 hex digits.
    """
    node_rank: NotRequired[NodeRank | None]
    salt: str
    """
    With the session's id, what its subject is a commitment to: 64 hex digits. Whoever is told both can
    say that the receipt is this session's.
    """


class SessionState2(TypedDict):
    """
    A slot is claimed and the node is being told.
    """

    phase: Literal['placing']


class SessionState4(TypedDict):
    """
    It runs, and waits for its player to attach; a job is healthy.
    """

    phase: Literal['ready']


class SessionState5(TypedDict):
    """
    It runs, and its player is attached.
    """

    phase: Literal['playing']


class SessionState6(TypedDict):
    """
    It runs, its player is gone, and it is kept until `ends_at`.
    """

    phase: Literal['detached']


class SessionState7(TypedDict):
    """
    It is being stopped.
    """

    phase: Literal['ending']
    reason: EndReason
    """
    Why.
    """


class SessionState8(TypedDict):
    """
    It is over.
    """

    detail: str
    """
    The reason in one sentence for people, with what to do.
    """
    phase: Literal['ended']
    reason: EndReason
    """
    Why.
    """


class SetWebhook(TypedDict, closed=True):
    """
    `PUT /v1/webhook`.
    """

    url: str
    """
    Where notices are posted, https.
    """


Shelf: TypeAlias = Literal['game', 'tool']
"""
The lobby's shelves.
"""


class StagedMetro(TypedDict):
    """
    A metro that has another version than the live one.
    """

    metro: str
    """
    The region, as its nodes say it.
    """
    version: int
    """
    What sessions that are placed there get.
    """


class StakeAccount(TypedDict):
    """
    An account.
    """

    account: str
    """
    Its name; beside those that take deposits there are `slashed` and `outside`.
    """
    credits_micro: str
    """
    All that came, micro-units.
    """
    debits_micro: str
    """
    All that went.
    """
    held_micro: str
    """
    What is held until disputes are over.
    """


StakeDirection: TypeAlias = Literal['deposit', 'withdraw']
"""
Which way it goes.
"""


class StartProgress1(TypedDict):
    """
    The image, and then the assets of a job, are being fetched.
    """

    done_bytes: int
    """
    Bytes so far.
    """
    layers: NotRequired[int]
    """
    Layers, or assets, in all, as far as known; 0 where the node does not say.
    """
    layers_done: NotRequired[int]
    """
    Layers, or assets, that are here.
    """
    step: Literal['pulling']
    total_bytes: int
    """
    Bytes in all, as far as known.
    """


class StartProgress2(TypedDict):
    """
    Desktop, sound and encoder are being started.
    """

    step: Literal['starting-desktop']


class StartProgress3(TypedDict):
    """
    The container is being started.
    """

    step: Literal['starting-app']


class StartProgress4(TypedDict):
    """
    The app runs and has not shown a picture yet.
    """

    step: Literal['waiting-for-picture']


class StartProgress5(TypedDict):
    """
    The container of a job is being made and started.
    """

    step: Literal['starting-container']


class StartProgress6(TypedDict):
    """
    The job runs; it is not healthy yet.
    """

    restarts: NotRequired[int]
    """
    How often it was started again.
    """
    step: Literal['waiting-for-health']


StartProgress: TypeAlias = StartProgress1 | StartProgress2 | StartProgress3 | StartProgress4 | StartProgress5 | StartProgress6
"""
How far the start of a session is, in the order in which it happens.
"""


StepBytes: TypeAlias = bytes
"""
What checker and node say to each other.
"""


class TenantChange(TypedDict, closed=True):
    """
    `PATCH /v1/tenants/{id}`: what changes of a tenant, as a JSON merge patch (RFC 7396). What is left out stays as
    it is, so that who changes one limit, or knows of fewer of them, lifts no other; `null` lifts one.
    """

    budget_micro_per_month: NotRequired[int | None]
    """
    See [`TenantSettings::budget_micro_per_month`].
    """
    cpu_milli_max: NotRequired[int | None]
    """
    See [`TenantSettings::cpu_milli_max`].
    """
    gpus_max: NotRequired[int | None]
    """
    See [`TenantSettings::gpus_max`].
    """
    mem_mib_max: NotRequired[int | None]
    """
    See [`TenantSettings::mem_mib_max`].
    """
    name: NotRequired[str]
    """
    See [`TenantSettings::name`].
    """
    priority: NotRequired[Priority]
    """
    See [`TenantSettings::priority`].
    """
    sessions_max: NotRequired[int | None]
    """
    See [`TenantSettings::sessions_max`].
    """
    suspended: NotRequired[bool]
    """
    See [`TenantSettings::suspended`].
    """


class TenantSettings(TypedDict, closed=True):
    """
    `POST /v1/tenants`: what a tenant is.
    """

    budget_micro_per_month: NotRequired[int | None]
    """
    What its members may spend together in a calendar month (UTC), millionths of the currency's unit; no
    limit without it. When it is spent, their sessions end and no new ones begin.
    """
    cpu_milli_max: NotRequired[int | None]
    """
    CPU that its members' sessions have at a time, counted alike, thousandths of a core.
    """
    gpus_max: NotRequired[int | None]
    """
    GPUs that its members' jobs have at a time, those of waiting ones counted, of a cluster those of all replicas;
    no limit without it.
    """
    mem_mib_max: NotRequired[int | None]
    """
    Memory that they have at a time, counted alike, MiB.
    """
    name: str
    """
    Its name, unlike every other's: 1 to 80 characters.
    """
    priority: NotRequired[Priority]
    """
    Where its members stand in the queue.
    """
    sessions_max: NotRequired[int | None]
    """
    Sessions that its members hold at a time, queued ones counted; no limit without it.
    """
    suspended: NotRequired[bool]
    """
    Whether its members are turned away. Their sessions go on.
    """


class TerminalSize(TypedDict, closed=True):
    """
    The size of a terminal, characters.
    """

    cols: int
    """
    Columns.
    """
    rows: int
    """
    Rows.
    """


class Time(TypedDict, closed=True):
    """
    When a session of this app ends by itself, seconds.
    """

    grace_s: NotRequired[int]
    """
    With no attachment for so long it ends.
    """
    idle_s: NotRequired[int]
    """
    With no input for so long it ends; the player is warned a minute before.
    """
    max_s: NotRequired[int]
    """
    It ends after so long in any case.
    """


Trust: TypeAlias = Literal['vetted', 'any']
"""
On whose nodes a job runs.
"""


class UsageFacts(TypedDict):
    """
    What a job used of its node, as the node has seen it so far. Facts and not money: each is left out where
    nobody can tell. Of several GPUs memory is all of theirs together, and utilisation their mean.
    """

    cpu_ms: NotRequired[int | None]
    """
    CPU time, milliseconds.
    """
    gpu_busy_percent_mean: NotRequired[int | None]
    """
    The share of time in which a kernel ran on its GPUs, on average, per cent.
    """
    gpu_mem_mib_mean: NotRequired[int | None]
    """
    That memory on average, MiB.
    """
    gpu_mem_mib_peak: NotRequired[int | None]
    """
    The most memory of its GPUs, MiB.
    """
    mem_mib_peak: NotRequired[int | None]
    """
    The most memory, MiB.
    """


class UsageGroup(TypedDict):
    """
    Several claims and volumes together.
    """

    amount_micro: int
    """
    What all of it costs.
    """
    claims: int
    """
    Claims with a second in it.
    """
    group: str
    """
    The day (`2026-01-31`, UTC), the app or image (`(volumes)` for all volumes), or the label's value; empty for what has no such
    label.
    """
    seconds: int
    """
    Their seconds.
    """
    volume_mib_seconds: NotRequired[int]
    """
    The sizes of volumes, MiB, times their seconds.
    """


class UsageOfVolume(TypedDict):
    """
    What is metered of a volume.
    """

    mib_seconds: int
    """
    Its size times the seconds.
    """
    name: str
    """
    Its name.
    """
    size_mib: int
    """
    Its size, MiB.
    """
    volume: str
    """
    Which.
    """


VersionState: TypeAlias = Literal['live', 'staged', 'former', 'idle']
"""
Whether sessions get a version.
"""


VolumeState: TypeAlias = Literal['new', 'ready', 'lost', 'wiping']
"""
How a volume is.
"""


WaitsFor: TypeAlias = Literal['node', 'slot', 'cpu', 'memory', 'uplink', 'disk', 'gpus', 'volume']
"""
What a session waits for.
"""


class WhoAmI(TypedDict):
    """
    `GET /v1/whoami`.
    """

    key: NotRequired[str | None]
    """
    The API key.
    """
    login_path: NotRequired[str | None]
    """
    Where a guest can log in, if players can: `/v1/login`.
    """
    name: str
    """
    `guest`, the player's name, or the name of the API key.
    """
    role: Role
    """
    What the caller is.
    """
    scopes: NotRequired[list[Scope]]
    """
    What the caller may do.
    """
    tenant: NotRequired[str | None]
    """
    The caller's tenant.
    """
    user: str
    """
    The user, whose sessions are the caller's own.
    """


U64: TypeAlias = int


class ApiKey(TypedDict):
    """
    A key, without its secret.
    """

    created_unix_ms: U64
    """
    When it was made.
    """
    expires_unix_ms: NotRequired[U64 | None]
    id: str
    """
    Its id.
    """
    last_used_unix_ms: NotRequired[U64 | None]
    name: str
    """
    What it is for.
    """
    prefix: str
    """
    The first characters of its secret, to tell keys apart.
    """
    revoked_unix_ms: NotRequired[U64 | None]
    role: Role
    """
    What it is.
    """
    scopes: list[Scope]
    """
    What it may be used for.
    """
    sessions_max: NotRequired[int | None]
    """
    Sessions that it may hold at a time.
    """
    tenant: NotRequired[str | None]
    """
    Whose.
    """
    user: str
    """
    The user that it acts as.
    """


class App(TypedDict):
    """
    One app as the lobby shows it.
    """

    available: bool
    """
    Whether some node can run it now or later.
    """
    controls: list[Control]
    """
    What its keys do.
    """
    display: DisplayMode
    """
    The display it is started with.
    """
    gpu: GpuClass
    """
    The GPU class it needs.
    """
    id: str
    """
    Its name in URLs.
    """
    picture: str
    """
    URL path of its picture.
    """
    saves: bool
    """
    Whether its saves persist.
    """
    shelf: Shelf
    """
    Which shelf it stands on.
    """
    summary: str
    """
    One or two sentences.
    """
    title: str
    """
    Its name for people.
    """


class AppList(TypedDict):
    """
    `GET /v1/apps`.
    """

    apps: list[App]
    """
    The catalogue, sorted by title.
    """


class AppSpec(TypedDict, closed=True):
    """
    A catalogue entry, as its file has it and as the broker hands it to an edge in a grant.
    """

    controls: NotRequired[list[Control]]
    """
    What its keys do, in the order shown to the player.
    """
    id: str
    """
    Its name in URLs; the file is named after it.
    """
    launch: Launch
    """
    How it runs.
    """
    needs: NotRequired[Needs]
    """
    What it needs.
    """
    picture: str
    """
    URL path of its picture, such as `/apps/freedoom.webp` (client-web's `public/apps/`).
    """
    saves: NotRequired[str | None]
    """
    Directory inside the container that persists per user and app, or none. Absolute.
    """
    shelf: Shelf
    """
    `game`, `tool` or `desktop`: the lobby's shelves.
    """
    summary: str
    """
    One or two sentences for the lobby.
    """
    time: NotRequired[Time]
    """
    When it ends by itself.
    """
    title: str
    """
    Its name for people.
    """
    warm: NotRequired[int]
    """
    Desktops that a node with room keeps ready for it, at most
    [`crate::limits::WARM_PER_APP_MAX`]; the node's operator may allow fewer.
    """


class AppVersion(TypedDict):
    """
    One version of an app.
    """

    added_by: NotRequired[str | None]
    """
    Who added it; nobody where it came with the broker's files.
    """
    created_unix_ms: U64
    """
    When it was added.
    """
    digest: str
    """
    SHA-256 of its description, in hex: the same description is the same version.
    """
    image: str
    """
    The image that it runs.
    """
    state: VersionState
    """
    Whether sessions get it.
    """
    version: int
    """
    Its number, from 1.
    """


class AppVersions(TypedDict):
    """
    `GET /v1/apps/{app}/versions`: an app and its versions.
    """

    former: NotRequired[int | None]
    """
    What a rollback makes live, where no metro is staged.
    """
    id: str
    """
    The app.
    """
    live: int
    """
    The live version.
    """
    staged: list[StagedMetro]
    """
    Metros with another version, by name.
    """
    title: str
    """
    Its name for people, as the live version has it.
    """
    versions: list[AppVersion]
    """
    Its versions, newest first.
    """
    withdrawn: bool
    """
    Whether it can be started: an app whose file is gone cannot.
    """


class Assignment(TypedDict):
    """
    Something that a checker is to do.
    """

    checker: str
    """
    The checker's key, by id.
    """
    due_unix_ms: U64
    """
    From when.
    """
    duty: str
    """
    `alive`, `capacity`, `capacity/GPU` of one of the node's GPUs, or `stream`.
    """
    leaf: str
    """
    The leaf of its receipt, if it has one.
    """
    node: str
    """
    The node.
    """
    node_key_id: str
    """
    The node's receipt key, by id.
    """
    place: int
    """
    Its place in the order of the round: those behind the committee stand in for one that missed.
    """
    round: int
    """
    The round that it follows from.
    """
    state: str
    """
    `due`, `done`, `missed`, or `void`: nobody could do it, and nobody stands in.
    """
    until_unix_ms: U64
    """
    Until when.
    """
    why: str
    """
    Why it was missed, or void.
    """


class AuditEntry(TypedDict):
    """
    One line of the audit log.
    """

    action: AuditAction
    """
    What they did.
    """
    address: NotRequired[str | None]
    """
    The address that they came from.
    """
    at_unix_ms: U64
    """
    When.
    """
    detail: str
    """
    More words, such as a name that was given.
    """
    id: str
    """
    Its number: later ones are higher.
    """
    key: NotRequired[str | None]
    """
    The key that they used.
    """
    outcome: AuditOutcome
    """
    What came of it.
    """
    request: str
    """
    The request, as in the log.
    """
    role: NotRequired[Role | None]
    subject: str
    """
    On what.
    """
    tenant: NotRequired[str | None]
    """
    Their tenant.
    """
    user: NotRequired[str | None]
    """
    Who; nobody on the broker's own machine.
    """


class AuditPage(TypedDict):
    """
    `GET /v1/audit`.
    """

    entries: list[AuditEntry]
    """
    Newest first.
    """
    next: NotRequired[str | None]
    """
    Where the next page begins, as `before`; there is none without it.
    """


class Chain(TypedDict):
    """
    The chain of hashes that rounds take their values from (docs/proof.md).
    """

    anchor: str
    """
    Its end: hashing a round's value as often as the round's number says gives it.
    """
    envelope: str
    """
    The same, signed by the directory's key, as it stands in the log.
    """
    genesis_unix_ms: U64
    """
    When round 1 began.
    """
    length: int
    """
    How many rounds there are.
    """
    round_ms: int
    """
    How long a round is, milliseconds.
    """


class CheckerReward(TypedDict):
    """
    What a check earned: `checks.reward_micro` of then, from `pool`, for a word that its round came to.
    """

    amount_micro: str
    """
    Micro-units.
    """
    at_unix_ms: U64
    """
    When the round was decided.
    """
    reason: str
    """
    Why.
    """
    receipts: list[int]
    """
    The receipts that it is for, by their places in the log.
    """
    state: RewardState
    """
    Whether it is paid.
    """
    until_unix_ms: NotRequired[U64 | None]


class CheckerStanding(TypedDict):
    """
    `GET /v1/checkers/me`: a checker's own standing.
    """

    assignments: list[Assignment]
    """
    Its newest assignments, newest first.
    """
    checker: Checker
    """
    Itself.
    """


class Cluster(TypedDict, closed=True):
    """
    Several containers of one job.
    """

    head_command: NotRequired[list[str]]
    """
    The program of replica 0, where it differs, such as a Ray head.
    """
    on_failure: NotRequired[OnFailure]
    """
    What the end of one of them means for all.
    """
    rendezvous_port: NotRequired[int]
    """
    The port of replica 0 that all of them meet at: `MASTER_PORT`, or that of `RAY_ADDRESS`.
    """
    replicas: int
    """
    How many.
    """


class CreateDispute(TypedDict, closed=True):
    """
    The body of `POST /v1/disputes`.
    """

    evidence: list[EvidenceName]
    """
    What it rests on, at most 320 pieces: for each probe its record, and the pieces of what was opened behind it
    (docs/proof.md). The bytes go to `PUT /v1/evidence/{sha256}` afterwards.
    """
    reason: str
    """
    What is wrong with it, as a sentence of at most 200 bytes.
    """
    receipt: int
    """
    The receipt, by its place in the log.
    """


class CreateExec(TypedDict, closed=True):
    """
    `POST /v1/sessions/{id}/exec`: a command to run inside.
    """

    command: list[str]
    """
    Program and arguments.
    """
    size: NotRequired[TerminalSize | None]
    stdin: NotRequired[bool]
    """
    Whether something comes on its standard input.
    """
    term: NotRequired[str | None]
    """
    `TERM` of a terminal, such as `xterm-256color`, which it is where this is left out.
    """
    tty: NotRequired[bool]
    """
    Whether it gets a terminal: one stream of output, signals by key, a size.
    """


class CreateKey(TypedDict, closed=True):
    """
    `POST /v1/keys`.
    """

    expires_s: NotRequired[int | None]
    """
    Seconds until it is void; it never is without it.
    """
    name: str
    """
    What it is for: 1 to 80 characters.
    """
    role: Role
    """
    What it is.
    """
    scopes: NotRequired[list[Scope]]
    """
    What it may be used for; all that its role allows without any.
    """
    sessions_max: NotRequired[int | None]
    """
    Sessions that it may hold at a time; its tenant's limit alone without it.
    """
    tenant: NotRequired[str | None]
    """
    Whose. The role `tenant` needs one, the roles `admin` and `operator` take none.
    """


class CreatedExec(TypedDict):
    """
    The right to start the command, once.
    """

    expires_at: U64
    """
    It is void from then on.
    """
    path: str
    """
    Where the WebSocket is opened, at the same broker or another one of its region.
    """
    protocol: str
    """
    The subprotocol to ask for beside the ticket's.
    """
    ticket: str
    """
    Sent as the subprotocol `nearlight.ticket.TICKET` of the WebSocket.
    """


class Delivery(TypedDict):
    """
    A notice and what became of it.
    """

    attempts: int
    """
    How often it was tried.
    """
    created_unix_ms: U64
    """
    When that happened.
    """
    id: str
    """
    `webhook-id`.
    """
    next_unix_ms: NotRequired[U64 | None]
    problem: NotRequired[str]
    """
    What came of the last try.
    """
    session: NotRequired[str | None]
    """
    The session.
    """
    state: DeliveryState
    """
    Where it is.
    """
    type: str
    """
    What it is about: `session.ready`, ….
    """


class DeliveryList(TypedDict):
    """
    `GET /v1/webhook/deliveries`.
    """

    deliveries: list[Delivery]
    """
    Newest first; those that are over stay for a week.
    """


Duty = TypedDict(
    'Duty',
    {
        'checker': str,
        'due_unix_ms': U64,
        'duty': str,
        'leaf': str,
        'node': str,
        'node_key_id': str,
        'place': int,
        'round': int,
        'state': str,
        'until_unix_ms': U64,
        'why': str,
        'app': NotRequired[str | None],
        'checkers': str,
        'class': NotRequired[str | None],
        'meets_unix_ms': NotRequired[U64 | None],
        'node_key': str,
        'signature': NotRequired[str | None],
        'value': str,
    },
)


class Endpoint(TypedDict):
    """
    Where a job is reached, and the right to.
    """

    direct_expires_at: NotRequired[U64 | None]
    direct_open_url: NotRequired[str | None]
    """
    The address for a browser there. It works once, within a minute, too.
    """
    direct_ticket: NotRequired[str | None]
    """
    The ticket for that address, and for no other: until `direct_expires_at`, whatever becomes of what asked for it.
    Whoever runs the node sees it.
    """
    direct_url: NotRequired[str | None]
    """
    The same job at its node, if that has an address of its own: nothing is in between, and it goes on while
    no broker answers. It takes tickets and no API keys. When the job moves it answers no more: ask again.
    """
    expires_at: U64
    """
    It is void from then on.
    """
    open_url: str
    """
    The address for a browser. It works once, within a minute: the browser keeps a cookie in place
    of the ticket, for as long as the ticket works.
    """
    ticket: str
    """
    EdDSA JWT for one port of one session: `Authorization: Bearer`, as often as needed. It is
    what programs take for an API key. The job never sees it. It ends before its time with the key or the login
    that asked for it.
    """
    url: str
    """
    The address, with a slash at the end: an origin of its own. It stays what it is wherever the job goes.
    """


class Excluded(TypedDict):
    """
    Nodes that a constraint excluded.
    """

    nodes: int
    """
    How many they are.
    """
    reason: ExcludedBy
    """
    The first constraint that each of them fails.
    """


class JoinedChecker(TypedDict):
    """
    A checker that came in.
    """

    certificate: CheckerCertificate
    """
    What it shows from now on.
    """
    chain: Chain
    """
    The chain of rounds.
    """
    directory_key: str
    """
    The key of the directory, which says whose keys are whose.
    """
    key_id: str
    """
    Its key, by id.
    """
    operator: str
    """
    Who runs it.
    """


class KeyList(TypedDict):
    """
    `GET /v1/keys`.
    """

    keys: list[ApiKey]
    """
    Those that the caller may see, oldest first.
    """
    next: NotRequired[str | None]
    """
    Where the next page begins, as `after`; there is none without it.
    """


class Lately(TypedDict):
    """
    What became of the last placements, as the node is now.
    """

    behind: list[Behind]
    """
    Those that went to a node with fewer points, by the part of the score in which it was farthest behind.
    """
    excluded: list[Excluded]
    """
    Those that it could not run, by the first reason.
    """
    here: int
    """
    How many came here.
    """
    placements: int
    """
    How many are looked at.
    """


class Licence(TypedDict):
    """
    A licence to check. Its owner delegates it to checkers.
    """

    created_unix_ms: U64
    """
    When it was given.
    """
    id: str
    """
    Its id: that of the owner's key.
    """
    key: str
    """
    The owner's key.
    """
    owner: str
    """
    Whose it is.
    """
    revoked_unix_ms: NotRequired[U64 | None]


class LicenceList(TypedDict):
    """
    `GET /v1/licences`.
    """

    licences: list[Licence]
    """
    Oldest first.
    """


class LogLine(TypedDict):
    """
    One line of a log, the `data` of a server-sent event.
    """

    at: str
    """
    When it was written, RFC 3339 with nanoseconds, UTC.
    """
    partial: NotRequired[bool]
    """
    Whether the line goes on with the next one: it was longer than 16 KiB.
    """
    stream: LogStream
    """
    Where to.
    """
    text: str
    """
    The line, without its end; bytes that are no UTF-8 are replaced.
    """


class MoveStake(TypedDict, closed=True):
    """
    The body of `POST /v1/stakes`.
    """

    account: str
    """
    `operator/NAME`, `checker/KEY`, `earned/KEY` or `pool`; KEY is a key id of 64 hex digits.
    """
    amount_micro: str
    """
    Micro-units.
    """
    direction: StakeDirection
    """
    Which way.
    """
    id: str
    """
    Its name, of 1 to 64 bytes: the same twice moves once.
    """


MyAssignments = TypedDict(
    'MyAssignments',
    {
        'assignments': list[Duty],
        'beacons': NotRequired[list[str]],
        'class': str,
        'version': str,
    },
)


class NewCheckerToken(TypedDict):
    """
    A token for a checker. It is told this once.
    """

    expires_unix_ms: U64
    """
    It is void from then on.
    """
    token: str
    """
    For `checker join --token`. It works once.
    """


class NewJoinToken(TypedDict):
    """
    A join token that was just made. It is told this once: the broker keeps only a hash.
    """

    addresses: list[str]
    """
    Where the node will dial.
    """
    expires_unix_ms: U64
    """
    It is void from then on.
    """
    token: str
    """
    For `nearlight node join --token`. It works once.
    """


class NewKey(TypedDict):
    """
    A key with a new secret, which is told this once: the broker keeps only a hash.
    """

    key: ApiKey
    """
    The key.
    """
    secret: str
    """
    What goes behind `Authorization: Bearer`.
    """


class NewProbe(TypedDict):
    """
    A probe that can begin.
    """

    has_sessions: bool
    """
    Whether the broker knows of sessions on the node: then it may refuse, otherwise it has no reason to.
    """
    id: str
    """
    Its id: in the address of its steps, and in what is signed.
    """
    node: str
    """
    The node.
    """
    offer: ProverOffer
    """
    What the node says that it can prove.
    """


class NewWatchLink(TypedDict):
    """
    A watch link that was just made. Its address is told this once: the broker keeps only a hash.
    """

    expires_unix_ms: U64
    """
    It is void from then on.
    """
    id: str
    """
    Its id, to revoke it.
    """
    url: str
    """
    Path of the page that watches, such as `/watch/<token>`. Whoever has it watches.
    """


class NodeGpu(TypedDict):
    """
    A GPU of a node, or a MIG slice of one, that jobs have for themselves.
    """

    compute_capability: NotRequired[int | None]
    """
    Its CUDA compute capability, times ten: 90 for 9.0; absent where it is not known.
    """
    encodes: NotRequired[bool | None]
    """
    Whether it encodes video beside what it computes; absent where its node does not say.
    """
    model: str
    """
    Its model as NVML has it.
    """
    read_at: NotRequired[U64 | None]
    reading: NotRequired[GpuReading | None]
    session: NotRequired[str | None]
    """
    The session that has it.
    """
    sick: NotRequired[str]
    """
    Why it takes no further job; empty if it is well.
    """
    slice_of: NotRequired[str | None]
    """
    Of a MIG slice: the UUID of the GPU that it is a part of.
    """
    taken: bool
    """
    Whether a job has it.
    """
    uuid: str
    """
    Its UUID as NVML has it.
    """
    vram_mib: int
    """
    Its memory, MiB.
    """


class NodeStanding(TypedDict):
    """
    How a node stands.
    """

    advice: list[str]
    """
    What would raise it, as sentences; none if nothing does.
    """
    gate: NodeGate
    """
    What its receipts open to it.
    """
    gpu_memory: NotRequired[list[GpuMemory]]
    """
    How much memory of its GPUs receipts stand for: nothing that asks for more is placed on them. Of a GPU that is not
    here what its driver says counts.
    """
    lately: Lately
    """
    What became of the last placements that this broker made.
    """
    node: str
    """
    The node.
    """
    rank_permille: int
    """
    Its rank, thousandths (docs/proof.md has the formula).
    """
    receipt_key_id: str
    """
    The id of the key that its receipts name it by; empty while it has told none.
    """
    verdicts: list[NodeVerdict]
    """
    Its last verdicts, newest first.
    """


class NoticeData(TypedDict):
    """
    What a notice says.
    """

    created_unix_ms: NotRequired[U64 | None]
    detail: NotRequired[str]
    """
    Why, in words.
    """
    ends_unix_ms: NotRequired[U64 | None]
    labels: NotRequired[dict[str, str]]
    """
    Its labels.
    """
    reason: NotRequired[EndReason | None]
    session: NotRequired[str | None]
    """
    The session; nothing in a test.
    """


class Place(TypedDict, closed=True):
    """
    Where a job may run.
    """

    price_max: NotRequired[int | None]
    """
    What a replica may cost at most, millionths of the rate card's unit a second.
    """
    regions: NotRequired[list[str]]
    """
    Regions; any if it is empty.
    """
    runtime: NotRequired[ContainerRuntime]
    """
    How its container is kept apart from the node's kernel.
    """
    secrets_on_unvetted: NotRequired[bool]
    """
    Whether secrets may go to a node that is not vetted. Its owner can read them.
    """
    trust: NotRequired[Trust]
    """
    On whose nodes.
    """


class PlacedIn(TypedDict):
    """
    Where a session runs, and why there.
    """

    chosen: bool
    """
    Whether the caller had chosen it.
    """
    region: str
    """
    The region.
    """
    rtt_from: NotRequired[RttFrom | None]
    rtt_ms: NotRequired[int | None]
    """
    The round trip that counted, milliseconds; null while nobody knows it.
    """
    step: NotRequired[LatencyStep | None]


class Placement2(TypedDict):
    """
    It waits: no node can run it now.
    """

    cluster: NotRequired[ClusterLack | None]
    detail: NotRequired[str | None]
    """
    What ties it to one node, such as a volume, and why that node cannot run it now; or, where no node
    will ever run it, what the nearest one has and what is asked for.
    """
    excluded: list[Excluded]
    """
    Nodes of the whole fleet by the first reason that rules each out, in the order of the
    checks: the last one is of those that came closest.
    """
    outcome: Literal['waits']
    step: NotRequired[LatencyStep | None]


class Placement3(TypedDict):
    """
    It has, or had, a slot on a node.
    """

    chosen: NotRequired[bool]
    """
    Whether the player had chosen the region: latency steps do not hold then.
    """
    node: str
    """
    The node.
    """
    outcome: Literal['placed']
    points: Points
    """
    What the node was ranked by.
    """
    rtt_from: NotRequired[RttFrom | None]
    rtt_ms: NotRequired[int | None]
    """
    The estimated round trip between player and node, milliseconds; null while nobody knows
    it.
    """
    step: NotRequired[LatencyStep | None]
    waited_ms: int
    """
    How long it had waited, milliseconds.
    """


Placement: TypeAlias = Placement1 | Placement2 | Placement3
"""
What came of the last attempt to place a session.
"""


class Port(TypedDict, closed=True):
    """
    What a job listens on.
    """

    access: NotRequired[PortAccess]
    """
    Who may use it.
    """
    health: NotRequired[Health | None]
    name: str
    """
    Its name, part of the endpoint's host name for all but the first.
    """
    port: int
    """
    TCP port in the container.
    """


class Problem(TypedDict):
    """
    The body of an error answer, `application/problem+json` (RFC 9457).
    """

    detail: str
    """
    What happened this time and what to do, for the caller.
    """
    instance: str
    """
    The request id, to find it in the log.
    """
    name: ProblemType
    """
    The type's name alone, for programs.
    """
    status: int
    """
    The HTTP status.
    """
    title: str
    """
    The same sentence for each problem of this type.
    """
    type: str
    """
    `https://nearlight.dev/problems/<name>`.
    """


class ReceiptList(TypedDict):
    """
    Receipts, newest first.
    """

    next_before: NotRequired[int | None]
    """
    What to send as `before` for the next page; none on the last.
    """
    receipts: list[ReceiptSummary]
    """
    The receipts.
    """


class Region(TypedDict):
    """
    Where sessions can run.
    """

    beacon: NotRequired[str | None]
    """
    An address that answers at once and stands where the nodes stand; the caller times it. At most
    [`crate::limits::BEACONS_MAX`] regions of an answer have one.
    """
    latitude: NotRequired[float | None]
    """
    Degrees north, where the operator says so.
    """
    longitude: NotRequired[float | None]
    """
    Degrees east, where the operator says so.
    """
    name: str
    """
    Its name, as nodes and requests have it.
    """
    rtt_from: NotRequired[RttFrom | None]
    rtt_ms: NotRequired[int | None]
    """
    The round trip between caller and region as the broker estimates it, milliseconds.
    """
    state: RegionState
    """
    Whether something can be played there now.
    """
    title: str
    """
    Its name for people.
    """


class RegionList(TypedDict):
    """
    `GET /v1/regions`.
    """

    regions: list[Region]
    """
    Nearest first as far as the broker can tell, then as the operator has them.
    """


class Registry(TypedDict):
    """
    A registry that the tenant has a credential for.
    """

    created_unix_ms: U64
    """
    Since when.
    """
    registry: str
    """
    `HOST` or `HOST:PORT`, as references of images have it.
    """
    username: str
    """
    Who logs in.
    """


class RegistryList(TypedDict):
    """
    `GET /v1/registries`.
    """

    registries: list[Registry]
    """
    By name.
    """


class Restart(TypedDict, closed=True):
    """
    What happens when a job's program ends, or a ready job is unhealthy.
    """

    elsewhere: NotRequired[bool]
    """
    Whether it is started on another node when its own is lost or takes the capacity back.
    """
    max: NotRequired[int]
    """
    How many times at most.
    """
    policy: NotRequired[RestartPolicy]
    """
    When it is started again on its node.
    """


class RoundAssignments(TypedDict):
    """
    `GET /v1/assignments`: who was to check whom in a round, with what is needed to work it out again.
    """

    assignments: list[Assignment]
    """
    The assignments, by node, duty and place; those of streams once they are settled or over.
    """
    began_unix_ms: U64
    """
    When it began.
    """
    checkers: list[Checker]
    """
    The checkers of then.
    """
    checkers_root: str
    """
    The root over the checkers of then.
    """
    committees: list[int]
    """
    How many checkers each duty takes: `alive`, `capacity`, `stream`; 0 of what is not checked.
    """
    round: int
    """
    The round.
    """
    signature: NotRequired[str | None]
    """
    The signature that it is the SHA-256 of, 96 hex digits, if the round takes it from drand.
    """
    value: str
    """
    Its value.
    """


class SessionState1(TypedDict):
    """
    Every suitable slot is taken.
    """

    eta_most_s: NotRequired[int | None]
    """
    Seconds that nine waits in ten do not exceed, or unknown.
    """
    eta_s: NotRequired[int | None]
    """
    Seconds until a slot is expected to be free: one wait in two is shorter. Or unknown.
    """
    phase: Literal['queued']
    position: int
    """
    1 is next.
    """
    waits_for: NotRequired[WaitsFor | None]


class SessionState3(TypedDict):
    """
    The node is starting it.
    """

    phase: Literal['starting']
    progress: StartProgress
    """
    How far it is.
    """


SessionState: TypeAlias = SessionState1 | SessionState2 | SessionState3 | SessionState4 | SessionState5 | SessionState6 | SessionState7 | SessionState8
"""
Where a session is in its life. `ended` is final.
"""


class StakeTransfer(TypedDict):
    """
    A transfer.
    """

    amount_micro: str
    """
    Micro-units.
    """
    at_unix_ms: U64
    """
    When.
    """
    credit: str
    """
    The account that has more.
    """
    debit: str
    """
    The account that has less.
    """
    id: str
    """
    Of what caused it.
    """
    kind: str
    """
    `posted`, `pending`, or `post` or `void`, which end a pending one.
    """
    reason: str
    """
    Why.
    """
    receipts: list[int]
    """
    The receipts that it rests on, by their places in the log.
    """
    until_unix_ms: NotRequired[U64 | None]


class Tenant(TypedDict):
    """
    A tenant: an organisation whose members see each other's sessions, and nobody else's.
    """

    budget_micro_per_month: NotRequired[int | None]
    """
    What its members may spend together in a calendar month, millionths of the currency's unit.
    """
    cpu_milli_max: NotRequired[int | None]
    """
    CPU that their sessions may have at a time, thousandths of a core.
    """
    cpu_milli_used: NotRequired[int]
    """
    CPU that those which wait or run ask for, thousandths of a core.
    """
    created_unix_ms: U64
    """
    When it was made.
    """
    gpus_max: NotRequired[int | None]
    """
    GPUs that their jobs may have at a time.
    """
    gpus_used: NotRequired[int]
    """
    GPUs that those which wait or run ask for.
    """
    id: str
    """
    Its id.
    """
    mem_mib_max: NotRequired[int | None]
    """
    Memory that their sessions may have at a time, MiB.
    """
    mem_mib_used: NotRequired[int]
    """
    Memory that those which wait or run ask for, MiB.
    """
    name: str
    """
    Its name.
    """
    priority: NotRequired[Priority]
    """
    Where its members stand in the queue.
    """
    sessions_max: NotRequired[int | None]
    """
    Sessions that its members may hold at a time.
    """
    sessions_used: int
    """
    Sessions that they hold.
    """
    suspended: bool
    """
    Whether its members are turned away.
    """


class TenantList(TypedDict):
    """
    `GET /v1/tenants`.
    """

    tenants: list[Tenant]
    """
    Those that the caller may see, oldest first.
    """


class Ticket(TypedDict):
    """
    The right to attach once: the Bearer token of the WHEP request.
    """

    expires_at: U64
    """
    It is void from then on.
    """
    ice_servers: NotRequired[list[IceServer]]
    """
    Relays for a browser that cannot reach the node by itself; empty where the operator has none.
    """
    ticket: str
    """
    EdDSA JWT, audience one session.
    """
    whep_path: str
    """
    Where to POST the offer, as `application/sdp` (draft-ietf-wish-whep).
    """


class UsageEntry(TypedDict):
    """
    A claim: a session on one node, from the acked start to the acked stop. Or a volume, for as long as its
    node held one size for it.
    """

    amount_micro: int
    """
    What they cost.
    """
    app: NotRequired[str | None]
    """
    Its app, if it is one.
    """
    began_unix_ms: U64
    """
    When it began.
    """
    cpu_milli: int
    """
    CPU of its claim, thousandths of a core.
    """
    ended_unix_ms: NotRequired[U64 | None]
    gpus: list[str]
    """
    The models of its GPUs.
    """
    job: NotRequired[str | None]
    """
    The image of its job, if it is one.
    """
    labels: dict[str, str]
    """
    Its labels.
    """
    mem_mib: int
    """
    Memory of its claim, MiB.
    """
    node: str
    """
    Its node.
    """
    receipt: NotRequired[int | None]
    """
    Where the receipt of its session stands in the log, if it was played and has one.
    """
    region: str
    """
    Where that was.
    """
    score_permille: NotRequired[int | None]
    """
    What its node was measured to do when it began, thousandths of its class: the price follows it if the rate card
    says so.
    """
    score_receipt: NotRequired[int | None]
    """
    Where a receipt of that stands in the log.
    """
    seconds: int
    """
    Whole seconds of it within the range.
    """
    session: NotRequired[str | None]
    """
    The session; none of a volume.
    """
    tenant: NotRequired[str | None]
    """
    Its tenant.
    """
    used: NotRequired[UsageFacts]
    """
    What it used of what it had.
    """
    volume: NotRequired[UsageOfVolume | None]


class UsageReport(TypedDict):
    """
    `GET /v1/usage`. Amounts are millionths of the currency's unit.
    """

    currency: str
    """
    The currency, as the operator writes it; empty where nothing has a price.
    """
    entries: NotRequired[list[UsageEntry]]
    """
    Claim by claim, the oldest first; empty where groups were asked for.
    """
    from_unix_ms: U64
    """
    Of the seconds that begin here or later.
    """
    groups: NotRequired[list[UsageGroup]]
    """
    By what was asked for, in its order.
    """
    next: NotRequired[str | None]
    """
    `after` of the next page, if there is one.
    """
    to_unix_ms: U64
    """
    And earlier than this. What still runs is counted until now.
    """


class Volume(TypedDict):
    """
    A volume as its owner sees it.
    """

    created_ms: U64
    """
    When it was made, Unix milliseconds.
    """
    id: str
    """
    Its id.
    """
    name: str
    """
    Its name in jobs' specs. One that is being wiped has it no more: another one may.
    """
    node: str
    """
    The node that it is on.
    """
    owner: str
    """
    The tenant, or the user, whose it is.
    """
    session: NotRequired[str | None]
    """
    The session that has it now.
    """
    size_mib: int
    """
    Its size, MiB. It grows with a job that asks for more, and never shrinks.
    """
    state: VolumeState
    """
    How it is.
    """
    used_ms: U64
    """
    When a job had it last, Unix milliseconds.
    """


class VolumeList(TypedDict):
    """
    `GET /v1/volumes`.
    """

    volumes: list[Volume]
    """
    By owner and name.
    """


class WatchLink(TypedDict):
    """
    A watch link that works, as its owner sees it later.
    """

    created_unix_ms: U64
    """
    When it was made.
    """
    expires_unix_ms: U64
    """
    It is void from then on.
    """
    id: str
    """
    Its id, to revoke it.
    """


class WatchLinkList(TypedDict):
    """
    `GET /v1/sessions/{id}/watch-links`.
    """

    links: list[WatchLink]
    """
    Those that work, oldest first.
    """


class Watched(TypedDict):
    """
    `GET /v1/watch/{token}`: what whoever has the link may know.
    """

    expires_unix_ms: U64
    """
    The link is void from then on.
    """
    ice_servers: NotRequired[list[IceServer]]
    """
    As in [`Ticket`].
    """
    live: bool
    """
    Whether there is a picture to watch now.
    """
    title: str
    """
    The app's name for people.
    """


class Webhook(TypedDict):
    """
    A tenant's endpoint.
    """

    created_unix_ms: U64
    """
    Since when there is one.
    """
    lost: int
    """
    Notices that were not even kept, for too many waited.
    """
    url: str
    """
    Where notices are posted.
    """
    waiting: int
    """
    Notices that wait to be delivered.
    """


class WebhookNotice(TypedDict):
    """
    The body of a notice.
    """

    data: NoticeData
    """
    The rest.
    """
    timestamp: str
    """
    When that happened, RFC 3339.
    """
    type: NoticeType
    """
    What it is about.
    """


class WebhookSet(TypedDict):
    """
    Answer to what makes a secret. It is not shown again.
    """

    secret: NotRequired[str | None]
    """
    What notices are signed with: `whsec_` and base64. Of an endpoint that has one already, nothing.
    """
    webhook: Webhook
    """
    The endpoint.
    """


class BeaconRound(TypedDict):
    """
    `GET /v1/beacon/{round}`: a round that has begun.
    """

    beacon: NotRequired[str]
    """
    Where the round takes its value from: `chain`, `quicknet`, or `drand:KEY:GENESIS_S:PERIOD_S` of another network.
    """
    before: NotRequired[list[str]]
    """
    The signatures of as many rounds before it as were asked for, the newest first; empty for one that has none.
    """
    began_unix_ms: U64
    """
    When it began.
    """
    chain: Chain
    """
    The chain.
    """
    drand_round: NotRequired[int | None]
    """
    The round of drand that it takes its value from: the first that is due when the round begins, or later.
    """
    round: int
    """
    Which.
    """
    signature: NotRequired[str | None]
    """
    Its signature, 96 hex digits, of which the value is the SHA-256.
    """
    value: str
    """
    Its value, 64 hex digits; empty of a round that is void.
    """
    void: NotRequired[bool]
    """
    Whether the round is void: it had no value within half of its length, and nobody is assigned in it.
    """


class CheckerAccount(TypedDict):
    """
    `GET /v1/checkers/me/account`: how a checker's word compares with what rounds came to, and what came of that.
    """

    agreement: CheckerAgreement
    """
    Its word, and what its rounds came to.
    """
    dispute_days: int
    """
    For how long a reward is held after its round was decided, days (`checks.dispute_days`).
    """
    earned_micro: str
    """
    What it has earned and nobody has withdrawn, micro-units.
    """
    penalties: list[StakeTransfer]
    """
    What was taken from its stake, newest first.
    """
    reward_micro: str
    """
    What an accepted check earns now, micro-units (`checks.reward_micro`).
    """
    rewards: list[CheckerReward]
    """
    Its newest rewards, newest first.
    """
    slash_permille: int
    """
    What a refuted word costs now, thousandths of the free stake (`checks.slash_permille`).
    """
    stake_micro: str
    """
    What it has at stake and nothing holds, micro-units.
    """


class ClusterMember(TypedDict):
    """
    One replica of a cluster.
    """

    node: NotRequired[str | None]
    """
    The node that runs it.
    """
    replica: int
    """
    Its number, from 0.
    """
    session: str
    """
    Its own id, as its node knows it. Whoever asks for anything names the cluster's.
    """
    state: SessionState
    """
    Where it is in its life.
    """


class JobSpec(TypedDict, closed=True):
    """
    A job, as its file and the API have it. Every key but `image` may be left out.
    """

    assets: NotRequired[list[Asset]]
    """
    Read-only files that are fetched by digest and kept on the node, such as a model's weights.
    """
    cluster: NotRequired[Cluster | None]
    command: NotRequired[list[str]]
    """
    Program and arguments in place of the image's own (`CMD`); empty for the image's.
    """
    egress: NotRequired[Egress]
    """
    What it may reach.
    """
    entrypoint: NotRequired[list[str]]
    """
    What goes before `command`, in place of the image's own (`ENTRYPOINT`); empty for the image's.
    The image's `CMD` goes with its `ENTRYPOINT`.
    """
    env: NotRequired[dict[str, str]]
    """
    Environment. No place for secrets: it is shown to whoever may look at the session.
    """
    image: str
    """
    Image reference, such as `registry.example/team/server:2` or with `@sha256:...`. The broker
    pins it to a digest; a restart or another replica never gets another image.
    """
    labels: NotRequired[dict[str, str]]
    """
    Words of the tenant's own, such as `customer = "acme"`: lists and usage are filtered by them.
    """
    place: NotRequired[Place]
    """
    Where it may run.
    """
    ports: NotRequired[list[Port]]
    """
    What it listens on. The first port is the one that the endpoint opens.
    """
    resources: NotRequired[Resources]
    """
    What it gets of the node.
    """
    restart: NotRequired[Restart]
    """
    What happens when its program ends.
    """
    secrets: NotRequired[list[str]]
    """
    Names of secrets, each a file `/run/secrets/NAME` in memory; their values travel apart from
    the spec and are in no list, log or record.
    """
    time: NotRequired[JobTime]
    """
    When it ends by itself.
    """
    volumes: NotRequired[list[JobVolume]]
    """
    Directories that outlive it.
    """


class Node(TypedDict):
    """
    One node as everyone may see it.
    """

    build: str
    """
    The build it runs.
    """
    encoders: list[str]
    """
    Video encoders that worked when they were probed, best first, such as `x264enc`.
    """
    fault: NotRequired[str]
    """
    Why it can start nothing at the moment; empty if it can. Only operators and administrators see it.
    """
    gpu: GpuClass
    """
    What it has.
    """
    gpu_models: list[str]
    """
    GPU models, as it claims.
    """
    gpus: NotRequired[list[NodeGpu]]
    """
    The GPUs that it gives to jobs. Only operators and administrators see them.
    """
    id: str
    """
    Its id.
    """
    image_faults: NotRequired[list[ImageFault]]
    """
    Images that it was to fetch ahead of sessions and could not. Only operators and administrators
    see it.
    """
    name: str
    """
    Its name for people.
    """
    operator: NotRequired[str]
    """
    Who runs it, as the directory of keys has it.
    """
    receipt_key: NotRequired[str]
    """
    The key that it signs receipts with, 64 hex digits; receipts name it by `receipt_key_id`.
    """
    receipt_key_id: NotRequired[str]
    """
    SHA-256 of that key: what `GET /v1/receipts?node=` takes.
    """
    reclaim_at: NotRequired[U64 | None]
    region: str
    """
    Where it is, as its operator says.
    """
    runtime: str
    """
    How it runs apps: `docker` or `sandbox`.
    """
    slots_free: int
    """
    Slots free now.
    """
    slots_total: int
    """
    Slots in all.
    """
    status: NodeStatus
    """
    Whether its control stream is up, and whether it takes sessions.
    """
    uplink_kbps: NotRequired[int | None]
    """
    What its uplink carries for sessions, kbit/s, as it is configured or measured.
    """
    vetted: NotRequired[bool]
    """
    Whether the operator of this network has vetted it: jobs go to such nodes, unless they say
    otherwise.
    """


class NodeList(TypedDict):
    """
    `GET /v1/nodes`.
    """

    nodes: list[Node]
    """
    All nodes.
    """


class Recipe(TypedDict):
    """
    A job that is ready to be started, as it is or changed: what `POST /v1/sessions` takes as `job`.
    """

    id: str
    """
    Its name, such as `embeddings`.
    """
    job: JobSpec
    """
    The job.
    """
    summary: str
    """
    What it does, in a sentence.
    """
    title: str
    """
    What people call it.
    """


class RecipeList(TypedDict):
    """
    `GET /v1/recipes`.
    """

    recipes: list[Recipe]
    """
    Sorted by id.
    """


class Session(TypedDict):
    """
    A session as its owner sees it: the answer to create, get and list, and every server-sent event.
    """

    app: NotRequired[str | None]
    """
    The catalogue entry, of an app.
    """
    created_at: U64
    """
    When it was created.
    """
    display: NotRequired[DisplayMode | None]
    ends_at: NotRequired[U64 | None]
    id: str
    """
    Its id.
    """
    kind: NotRequired[SessionKind]
    """
    What it runs.
    """
    labels: NotRequired[dict[str, str]]
    """
    Words of the tenant's own, as its job has them.
    """
    members: NotRequired[list[ClusterMember]]
    """
    The replicas of a cluster's present run in their order, the first with them; none while it waits.
    """
    node: NotRequired[str | None]
    """
    The node that runs it, once placed.
    """
    owned: bool
    """
    Whether this caller owns it. Only the owner attaches, controls and ends it.
    """
    placed_in: NotRequired[PlacedIn | None]
    play_path: str
    """
    Path of the page that plays it, such as `/play/ses_...`; empty for a job.
    """
    preempted_at: NotRequired[U64 | None]
    state: SessionState
    """
    Where it is in its life.
    """
    title: str
    """
    The app's name for people, or the image's of a job.
    """
    watchers: NotRequired[int]
    """
    Guests who watch it on watch links now.
    """


class SessionList(TypedDict):
    """
    `GET /v1/sessions`.
    """

    sessions: list[Session]
    """
    The caller's sessions, newest first; ended ones stay for an hour.
    """


class StakeList(TypedDict):
    """
    Accounts.
    """

    accounts: list[StakeAccount]
    """
    By name.
    """
    transfers: list[StakeTransfer]
    """
    The last transfers of the account that was asked for, newest first.
    """


class CreateSession(TypedDict, closed=True):
    """
    `POST /v1/sessions`. Needs an `Idempotency-Key` header.
    """

    app: NotRequired[str | None]
    """
    The catalogue entry to start; or else a job.
    """
    budget_micro: NotRequired[int | None]
    """
    What it may cost, millionths of the currency's unit; then it ends. No limit without it.
    """
    display: NotRequired[DisplayMode | None]
    job: NotRequired[JobSpec | None]
    keyboard_layout: NotRequired[str | None]
    """
    xkb layout of the player's keyboard, such as `de` or `us(intl)`; `us` otherwise.
    """
    price_max: NotRequired[int | None]
    """
    What an app may cost a second where it is placed, millionths of the currency's unit. A job says it in its `place`.
    """
    region: NotRequired[str | None]
    """
    The region that it must run in, however far; the nearest that has room otherwise.
    """
    rtt: NotRequired[list[RegionRtt]]
    """
    Round trips to regions that the player measured, at most [`crate::limits::RTTS_MAX`].
    """
    saves: NotRequired[SavesWish]
    """
    What to do where the player's saves of the app are on a node that cannot run it now.
    """
    secrets: NotRequired[dict[str, str]]
    """
    The values of the job's secrets, one for each name in its `secrets`. They are in no answer.
    """
