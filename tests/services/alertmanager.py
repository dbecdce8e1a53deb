"""Alertmanager for the tests: Debian's prometheus-alertmanager, alone and without receivers."""

import re
from http.client import HTTPConnection

from tests.services.process import Server, program

CONFIG = "route: {receiver: none}\nreceivers: [{name: none}]\n"


class AlertmanagerServer(Server):
    """One Alertmanager."""

    name = "alertmanager"
    start_limit_s = 30.0

    def prepare(self) -> None:
        """Write its configuration."""
        (self.directory / "config.yml").write_text(CONFIG, "utf-8")

    def command(self) -> list[str]:
        """Loopback only, no cluster."""
        found = program("prometheus-alertmanager", "apt-get install prometheus-alertmanager")
        files = [f"--config.file={self.directory / 'config.yml'}", f"--storage.path={self.directory}"]
        return [found, *files, f"--web.listen-address={self.address}", "--cluster.listen-address="]

    def ready(self) -> bool:
        """Whether it says so."""
        return self.get("/-/ready")[0] == 200

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def received(self, status: str) -> int:
        """Alerts that it has received since its start, firing or resolved."""
        found = re.search(rf'alertmanager_alerts_received_total{{status="{status}",version="v2"}} (\d+)', self.get("/metrics")[1])
        return int(found[1]) if found else 0
