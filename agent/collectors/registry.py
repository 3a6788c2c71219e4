"""All collectors there are. Adding one is a row here."""

from __future__ import annotations

from agent.collectors.base import Collector
from agent.collectors.clock import ClockCollector
from agent.collectors.disks import DisksCollector
from agent.collectors.drops import DropsCollector
from agent.collectors.etcd import EtcdCollector
from agent.collectors.fsync import FsyncCollector
from agent.collectors.host_info import HostInfoCollector
from agent.collectors.kernel_log import KernelLogCollector
from agent.collectors.links import LinksCollector
from agent.collectors.log_patterns import LogPatternsCollector
from agent.collectors.path_mtu import PathMtuCollector, Prober
from agent.collectors.pod_links import PodLinksCollector
from agent.collectors.protocols import ProtocolsCollector
from agent.collectors.retransmits import RetransmitsCollector
from agent.collectors.routes import RoutesCollector
from agent.collectors.usage import UsageCollector
from agent.collectors.volumes import VolumesCollector
from agent.sensor.client import SensorClient
from agent.settings import CollectorSettings


def collectors(settings: CollectorSettings | None = None, prober: Prober | None = None) -> list[Collector]:
    """New collectors for one host, in report order. They keep state between runs: no two hosts share them.

    Which of them run, and how often if not at their own interval, is for whoever runs them.
    """
    settings = settings or CollectorSettings()
    sensor = SensorClient(settings.sensor_socket) if settings.sensor_socket else None
    return [
        HostInfoCollector(),
        LinksCollector(),
        RoutesCollector(),
        ProtocolsCollector(),
        DisksCollector(),
        FsyncCollector(settings.probe_directories, settings.probe_interval_s, sensor),
        EtcdCollector(settings.etcd_metrics_url),
        VolumesCollector(),
        KernelLogCollector(),
        LogPatternsCollector(settings.log_patterns),
        UsageCollector(),
        ClockCollector(),
        PathMtuCollector(prober),
        PodLinksCollector(),
        DropsCollector(sensor),
        RetransmitsCollector(sensor),
    ]
