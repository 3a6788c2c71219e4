"""What the help of each command says beside its flags: the one source of --help and of the manual pages."""

from __future__ import annotations

from cli import certs_flags
from cli.doctor import flags as doctor_flags
from cli.install import flags as install_flags
from cli.page import Page

ACCESS = (
    ("NODETELL_AGGREGATOR", "which aggregator to ask, HOST:PORT"),
    ("NODETELL_CA", "authorities that may have signed its certificate, PEM"),
    ("NODETELL_CERTIFICATE", "client certificate to show, PEM"),
    ("NODETELL_KEY", "its private key, PEM"),
    ("NODETELL_TOKEN_FILE", "token to show"),
    ("NODETELL_SERVER_NAME", "name that its certificate has to have"),
)
"""Variables that stand for flags of how an aggregator is asked."""
TERMINAL = (
    ("NO_COLOR", "set to anything: nothing is coloured"),
    ("COLUMNS", "width of text that does not go to a terminal"),
)
_KUBE = (("KUBECONFIG", "kubeconfig files, as kubectl takes them"),)


NODETELL = Page(
    "names Kubernetes day-2 incidents from the evidence that only the host has",
    "Names Kubernetes day-2 incidents from the evidence that only the host has.",
    "  nodetell up                          an aggregator and an agent of this host, and what they find\n"
    "  nodetell diagnose prod-a.tar.gz      a diagnosis of an evidence bundle, without any server\n"
    "  nodetell collect prod-a.tar.gz       an evidence bundle of this host\n"
    "  nodetell findings --watch            what an aggregator finds, as it happens\n"
    "  nodetell top                         nodes and findings as a live view\n"
    "  nodetell explain ID                  one finding as a story: cause, evidence, what to do",
    (*ACCESS, *TERMINAL),
    ("nodetell help TOPIC", "nodetell COMMAND --help", "docs/command.md", "docs/operating.md"),
)

PAGES = {
    "up": Page(
        "run an aggregator and an agent of this host, and show what they find",
        "Runs an aggregator and an agent of this very host on loopback, prints a summary of the host, then findings "
        "as they appear, change and resolve. Ctrl-C stops both. Nothing is kept unless --state-directory is given. "
        "As root it sees more; what it cannot read, it says, with what would enable it.",
        "  nodetell up\n  nodetell up --listen 127.0.0.1:17443 --state-directory ~/.local/state/nodetell\n"
        "  nodetell up --probe-directory /var/lib/etcd      also measure fdatasync there\n"
        "  nodetell up --kubeconfig ~/.kube/config          join it with what this API server knows (read only)",
        TERMINAL,
        ("nodetell top --insecure", "nodetell agent", "nodetell aggregator", "docs/operating.md"),
    ),
    "agent": Page(
        "run the agent: read this host, stream what changed to an aggregator",
        "Reads this host's interfaces, counters, disks, volumes and clock, and streams what changed to an aggregator. "
        "Settings come from --config, then NODETELL_AGENT_... variables, then flags; the last one wins.",
        "  nodetell agent --aggregator nodetell-aggregator:7443 --node $(hostname)\n"
        "  nodetell agent --config agent.toml --check-config\n  nodetell agent --print-config > agent.toml",
        (("NODETELL_AGENT_...", "each setting by its name: --stream.batch-interval-s is ..._STREAM_BATCH_INTERVAL_S"),),
        ("nodetell sensor", "nodetell node NAME --coverage", "docs/operating.md", "docs/privileges.md"),
    ),
    "aggregator": Page(
        "run the aggregator: join what agents report, diagnose, remember, answer",
        "Joins what the agents of a cluster report, names incidents, remembers them and answers operators. "
        "Settings come from --config, then NODETELL_AGGREGATOR_... variables, then flags; the last one wins.",
        "  nodetell aggregator --listen 127.0.0.1:7443\n"
        "  nodetell aggregator --config aggregator.toml --check-config\n"
        "  nodetell aggregator --print-config > aggregator.toml",
        (("NODETELL_AGGREGATOR_...", "each setting by its name: --fleet.max-nodes is ..._FLEET_MAX_NODES"),),
        ("nodetell signatures", "nodetell certs", "docs/operating.md", "docs/identity.md"),
    ),
    "sensor": Page(
        "run the sensor: time other processes' fsync, count drops and retransmissions",
        "Attaches small programs to the kernel (BPF) and tells the agent of the same node, over a local socket, what "
        "they count. Needs CAP_BPF and CAP_PERFMON, and nothing more; what the kernel refuses, it says. "
        "Settings come from --config, then NODETELL_SENSOR_... variables, then flags; the last one wins.",
        "  nodetell sensor\n  nodetell sensor --socket /run/nodetell/sensor.sock --agent-uid 65534\n"
        "  nodetell sensor --print-config > sensor.toml",
        (("NODETELL_SENSOR_...", "each setting by its name: --agent-uid is ..._AGENT_UID"),),
        ("nodetell agent", "docs/sensor.md", "docs/privileges.md"),
    ),
    "nodes": Page(
        "list the nodes that an aggregator knows",
        "Lists all nodes that an aggregator knows, with the state of their agents.",
        "  nodetell nodes\n  nodetell nodes --format wide --sort-by fsync-p99:desc\n"
        "  nodetell nodes --columns node,clock --no-headers\n"
        "  nodetell nodes --format json | jq -r '.nodes[] | select(.connected | not) | .node'",
        (*ACCESS, *TERMINAL),
        ("nodetell node NAME", "nodetell top", "nodetell help columns", "nodetell help access"),
    ),
    "node": Page(
        "show everything known of one node",
        "Shows one node: interfaces and what carries them, drops, disks, volumes, clock, and what could not be read; "
        "with --columns, --sort-by or --no-headers its interfaces alone, a line each.",
        "  nodetell node worker-3\n  nodetell node worker-3 --format json\n"
        "  nodetell node worker-3 --coverage      what is measured there, and what would enable the rest\n"
        "  nodetell node worker-3 --columns name,kind,mtu,carried-by --sort-by mtu\n"
        "  nodetell node worker-3 --coverage --columns signal,status --no-headers",
        (*ACCESS, *TERMINAL),
        ("nodetell nodes", "nodetell help columns", "docs/signals.md", "docs/privileges.md"),
    ),
    "findings": Page(
        "show what an aggregator finds",
        "Shows the findings that stand: causes first, what follows from them below, and what limits the diagnosis; "
        "with --format wide, --columns or --sort-by a line each. The exit status tells the worst of them.",
        "  nodetell findings\n  nodetell findings --watch --format json\n"
        "  nodetell findings --columns severity,code,nodes,id --sort-by since:desc",
        (*ACCESS, *TERMINAL),
        ("nodetell explain ID", "nodetell top", "nodetell help columns", "docs/findings.md"),
    ),
    "top": Page(
        "show nodes and findings as a live view; needs textual",
        "Follows an aggregator: nodes as a table that sorts and filters, findings with their causes first, what was "
        "resolved in the last hour, and how well the cluster is seen. Keys are at the bottom; ? has all of them. With "
        "--once, and where the output is no terminal, one frame is printed as text. Needs textual "
        "(pip install 'nodetell[top]'), but for that one frame.",
        "  nodetell top --insecure                  of an aggregator that `nodetell up` has started\n"
        "  nodetell top --sort-by drops/s --filter eu-west-1a\n  nodetell top --once | head -30",
        (*ACCESS, *TERMINAL, ("TERM", "which terminal it is; over a slow line --interval 10 spares it")),
        ("nodetell nodes --format wide", "nodetell findings --watch", "docs/command.md"),
    ),
    "explain": Page(
        "tell the story of a finding: symptom, cause, evidence, what to do, when it is over",
        "Tells one incident as a story: what suffers, what explains it link by link, on what evidence, what it is not, "
        "what to do first, and how to see that it is over. Of an aggregator, or of an evidence bundle where one is "
        "named; with --format wide, --columns or --sort-by its evidence, a line each. The exit status tells the worst "
        "finding of the chain.",
        "  nodetell explain sched-volume-zone-1a2b3c4d\n  nodetell explain sched.volume_zone prod-a.tar.gz\n"
        "  nodetell explain mtu prod-a.tar.gz --format json | jq -r '.what_to_do_first[]'",
        (*ACCESS, *TERMINAL),
        ("nodetell findings", "nodetell diagnose", "nodetell help columns", "docs/findings.md"),
    ),
    "whatif": Page(
        "tell which pods could not come back if nodes or zones were lost",
        "Tells which pods would come back elsewhere if nodes or zones were lost now, which could not, why not, and "
        "what would make them: from an evidence bundle, or of an aggregator's cluster where no bundle is named. Pods "
        "are placed one after the other by the scheduler's own arithmetic, so that no two count on the same room. The "
        "exit status is 1 if something could not come back.",
        "  nodetell whatif --lose-zone eu-west-1a\n  nodetell whatif --lose-node worker-3 --lose-node worker-4\n"
        "  nodetell whatif prod-a.tar.gz --lose-zone eu-west-1a --format json | jq '.stranded[].because'",
        (*ACCESS, *TERMINAL),
        ("nodetell nodes --sort-by zone", "nodetell help columns", "docs/situations.md"),
    ),
    "diagnose": Page(
        "diagnose an evidence bundle; needs no server",
        "Diagnoses an evidence bundle: a directory, or a .tar.gz of one. Needs no server and no network, and says the "
        "same on every machine. What is missing or damaged in the bundle narrows the diagnosis, and is said.",
        "  nodetell diagnose prod-a.tar.gz\n  nodetell diagnose prod-a --format json | jq '.findings[].summary'\n"
        "  nodetell diagnose prod-a.tar.gz --serve          the same as a page to look at",
        TERMINAL,
        ("nodetell collect", "nodetell explain ID BUNDLE", "nodetell help columns", "docs/bundle.md"),
    ),
    "collect": Page(
        "record an evidence bundle of this host; needs no server",
        "Records an evidence bundle of this host, for `nodetell diagnose` here or elsewhere: a directory, or one "
        ".tar.gz if PATH ends so. Two snapshots some seconds apart, so that counters have rates. Where a kubeconfig "
        "or a service account is at hand, the cluster's objects too: pods with what stands in their environment, of "
        "secrets only names and times.",
        "  nodetell collect /tmp/evidence.tar.gz\n  nodetell collect evidence --snapshots 3 --interval 60 --no-kube",
        _KUBE,
        ("nodetell diagnose", "docs/bundle.md", "docs/data.md"),
    ),
    "classify": Page(
        "tell the cause family of event and status messages; needs no server",
        "Tells for each message the cause family, or that it is no fault, or that it is unknown, with the phrase that "
        "decided. Reads `kubectl get events -o json`, `kubectl describe` of pods, claims and nodes, or JSON lines "
        "{object, reason, exit_code, message}. A line that cannot be read is said, and the rest is read.",
        "  nodetell classify events.json --format json | jq -r .label | sort | uniq -c\n"
        "  nodetell classify events.json --columns label,object --sort-by label\n"
        "  kubectl get events -A -o json | nodetell classify\n  kubectl describe pod web-0 | nodetell classify -",
        TERMINAL,
        ("nodetell help columns", "docs/messages.md"),
    ),
    "signatures": Page(
        "list what is diagnosed, with which numbers, and when it is over; needs no server",
        "Lists all codes with their meaning, stage, default severity and clear condition, all thresholds with meaning, "
        "unit, default and source, and what is installed besides (entry points nodetell.signatures).",
        "  nodetell signatures\n  nodetell signatures --columns code,stage,meaning\n"
        "  nodetell signatures --format json | jq -r '.codes[].code'",
        TERMINAL,
        ("nodetell help columns", "docs/findings.md", "docs/signatures.md", "docs/thresholds.md"),
    ),
    "certs": Page(
        certs_flags.SUMMARY,
        certs_flags.DESCRIPTION,
        certs_flags.EXAMPLES,
        (),
        ("nodetell aggregator", "nodetell agent", "nodetell help access", "docs/identity.md"),
    ),
    "install": Page(
        install_flags.SUMMARY,
        install_flags.DESCRIPTION,
        install_flags.EXAMPLES,
        (),
        ("nodetell doctor", "nodetell certs", "docs/operating.md", "docs/privileges.md"),
    ),
    "doctor": Page(
        doctor_flags.SUMMARY,
        doctor_flags.DESCRIPTION,
        doctor_flags.EXAMPLES,
        (*_KUBE, *ACCESS, *TERMINAL),
        ("nodetell install", "nodetell node NAME --coverage", "nodetell help columns", "docs/operating.md"),
    ),
    "completion": Page(
        "print a script that completes command lines in bash, zsh or fish",
        "Prints a script for a shell, which completes commands, flags, their values and files; and where an aggregator "
        "answers within a second, names of nodes and zones, and ids of findings. Needs shtab "
        "(pip install 'nodetell[cli]').",
        "  nodetell completion bash > ~/.local/share/bash-completion/completions/nodetell\n"
        "  nodetell completion zsh > ~/.zfunc/_nodetell          in a directory of fpath\n"
        "  nodetell completion fish > ~/.config/fish/completions/nodetell.fish",
        ACCESS,
        ("nodetell help access", "docs/command.md"),
    ),
    "help": Page(
        "explain a command, or a topic that concerns several",
        "Prints the help of a command, or explains a topic; without one it says which there are.",
        "  nodetell help findings\n  nodetell help columns\n  nodetell help access",
        (),
        ("nodetell --help", "docs/command.md"),
    ),
    "version": Page(
        "print the version",
        "Prints the version.",
        "  nodetell version --format json",
    ),
}
"""By command, in the order in which they are listed."""
