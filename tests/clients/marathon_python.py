"""Marathon's own Python client (`marathon` 0.13.0 from PyPI) against a running cluster.

    marathon_python.py http://127.0.0.1:8080

Runs what the client can do, with real tasks, and checks what comes back. The client builds an object from
every key that it is sent and dies on one that it does not know, so parsing alone is a strict test.
The cluster needs an agent that runs commands; the apps made here are removed again.
"""
import collections
import collections.abc
import sys
import threading
import time

# The client was written for Python before 3.10.
collections.Iterable = collections.abc.Iterable

import marathon  # noqa: E402
import requests  # noqa: E402
from marathon.exceptions import (  # noqa: E402
    ConflictError, MarathonHttpError, NotFoundError)
from marathon.models import MarathonApp, MarathonHealthCheck  # noqa: E402
from marathon.models.queue import MarathonQueueItem  # noqa: E402

WEB, STUCK = "/py/web", "/py/stuck"
TIMEOUT = 60


def wait(what, condition):
    """The first true value of `condition`."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.1)
    raise AssertionError(f"not in {TIMEOUT} s: {what}")


def refused(kind, act):
    """The error of the kind that `act` must end with."""
    try:
        act()
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


class Events(threading.Thread):
    """Everything that the cluster says, as the client's own objects."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.seen, self.failure = client, [], None

    def run(self):
        try:
            for event in self.client.event_stream():
                self.seen.append(event)
        except Exception as error:  # noqa: BLE001 - shown by whoever waits
            self.failure = error

    def kinds(self):
        if self.failure:
            raise AssertionError(f"the event stream broke: {self.failure!r}")
        return {event.event_type for event in list(self.seen)}


class Walk:
    """One way through the client."""

    def __init__(self, url):
        self.url = url
        self.client = marathon.MarathonClient(url)
        self.events = Events(marathon.MarathonClient(url))

    def settled(self):
        wait("no deployment", lambda: not self.client.list_deployments())

    def running(self, count, unlike=()):
        """The ids of the app's tasks once exactly `count` run, none of them in `unlike`."""
        def look():
            app = self.client.get_app(WEB, embed_tasks=True)
            ids = {task.id for task in app.tasks if task.state == "TASK_RUNNING"}
            return ids if len(ids) == count and not ids & set(unlike) else None
        return wait(f"{count} tasks", look)

    def about_the_master(self):
        assert self.client.ping() == b'"pong"'  # it asks for JSON
        info = self.client.get_info()
        assert info.name == "marathon" and info.version and info.framework_id and info.elected
        assert self.client.get_leader() == {"leader": info.leader}
        metrics = self.client.get_metrics()
        assert {"counters", "gauges", "histograms", "meters", "timers", "version"} <= set(metrics)
        assert metrics["gauges"]["marathon.uptime.gauge.seconds"]["value"] >= 0
        refused(ConflictError, self.client.delete_leader)  # a single master stays

    def create(self):
        server = f"exec {sys.executable} -m http.server --bind 127.0.0.1 $PORT0"
        check = MarathonHealthCheck(protocol="HTTP", path="/", port_index=0, grace_period_seconds=30,
                                    interval_seconds=1, timeout_seconds=5, max_consecutive_failures=3)
        app = MarathonApp(cmd=server, cpus=0.1, mem=32, instances=2, health_checks=[check],
                          labels={"tier": "web"}, backoff_seconds=0)
        created = self.client.create_app(WEB, app)
        assert created and created.id == WEB and created.instances == 2, created
        assert [d.id for d in created.deployments] and created.tasks_running == 0
        self.settled()
        self.running(2)
        error = refused(ConflictError, lambda: self.client.create_app(WEB, app))
        assert error.error_message == f"An app with id [{WEB}] already exists.", error.error_message

    def read(self):
        app = self.client.get_app(WEB)
        assert (app.tasks_running, app.tasks_healthy, app.tasks_unhealthy) == (2, 2, 0), app.to_json()
        assert app.labels == {"tier": "web"} and app.deployments == []
        every = dict(embed_tasks=True, embed_counts=True, embed_deployments=True, embed_readiness=True,
                     embed_last_task_failure=True, embed_failures=True)
        for filters in [{"cmd": "HTTP.SERVER"}, {"app_id": "py/w"}, {"label": "tier==web"}]:
            listed = self.client.list_apps(**filters, **every)
            assert [app.id for app in listed] == [WEB], filters
            assert len(listed[0].tasks) == 2
        assert self.client.list_apps(label="tier!=web") == []
        tasks = self.client.list_tasks(WEB)
        assert all(task.app_id == WEB and task.host and task.started_at for task in tasks)
        assert all(task.health_check_results[0].alive for task in tasks)
        ports = {port for task in tasks for port in task.ports}
        assert len(ports) == 2
        endpoints = [e for e in self.client.list_endpoints() if e.app_id == WEB]
        assert {e.task_port for e in endpoints} == ports and all(e.service_port for e in endpoints)
        for port in ports:
            assert requests.get(f"http://127.0.0.1:{port}/", timeout=5).ok
        assert self.client.list_queue() == []
        refused(NotFoundError, lambda: self.client.get_app("/py/none"))
        wrong = refused(MarathonHttpError, lambda: self.client.create_app("/py/x", MarathonApp(cpus=-1)))
        assert wrong.status_code == 422, wrong.status_code

    def change(self):
        before = self.running(2)
        assert self.client.scale_app(WEB, instances=3)["deploymentId"]
        self.settled()
        assert before < self.running(3)
        self.client.scale_app(WEB, delta=-2)
        self.settled()
        first, = self.running(1)
        changed = self.client.update_app(WEB, MarathonApp(env={"GREETING": "hello"}))
        assert set(changed) == {"version", "deploymentId"}
        self.settled()
        second, = self.running(1, unlike=[first])
        app = self.client.get_app(WEB)
        assert app.env == {"GREETING": "hello"} and app.version == changed["version"]
        self.versions(changed["version"])
        third, = self.running(1, unlike=[first, second])
        self.client.restart_app(WEB)
        self.settled()
        self.running(1, unlike=[first, second, third])

    def versions(self, newest):
        versions = self.client.list_versions(WEB)
        assert versions[0] == newest and len(versions) == 4, versions
        oldest = self.client.get_version(WEB, versions[-1])
        assert oldest.instances == 2 and not oldest.env
        self.client.rollback_app(WEB, versions[1])
        self.settled()
        assert not self.client.get_app(WEB).env
        refused(NotFoundError, lambda: self.client.rollback_app(WEB, "2001-01-01T00:00:00.000Z"))

    def kill(self):
        self.client.scale_app(WEB, instances=3)
        self.settled()
        tasks = self.running(3)
        victim = min(tasks)
        assert self.client.kill_task(WEB, victim).id == victim
        tasks = self.running(3, unlike=[victim])
        assert self.client.kill_given_tasks([min(tasks)])
        tasks = self.running(3, unlike=[min(tasks)])
        assert "deploymentId" in self.client.kill_task(WEB, min(tasks), scale=True)
        self.settled()
        tasks = self.running(2, unlike=[min(tasks)])
        assert self.client.kill_tasks(WEB, host="no-such-host") == []
        killed = self.client.kill_tasks(WEB)
        assert {task.id for task in killed} == tasks
        self.running(2, unlike=tasks)
        wait("healthy again", lambda: self.client.get_app(WEB).tasks_healthy == 2)

    def wait_in_the_queue(self):
        """An app that fits nowhere: its deployment runs, holds the lock, and the queue says why."""
        stuck = MarathonApp(cmd="sleep 1000", cpus=10000, mem=32, constraints=[["hostname", "UNIQUE"]])
        self.client.create_app(STUCK, stuck)
        deployment, = self.client.list_deployments()
        assert deployment.affected_apps == [STUCK] and deployment.current_step == 2
        assert [action.action for action in deployment.current_actions] == ["ScaleApplication"]
        error = refused(ConflictError, lambda: self.client.update_app(STUCK, MarathonApp(mem=33)))
        assert "?force=true" in error.error_message
        item = wait("an attempt", lambda: self.waiting_item())
        assert item.app.id == STUCK and item.count == 1 and item.last_unused_offers
        self.client.reset_delay(STUCK)
        self.client.update_app(STUCK, MarathonApp(mem=33), force=True)
        deployment, = self.client.list_deployments()
        assert self.client.delete_deployment(deployment.id)["deploymentId"] != deployment.id
        deployment, = self.client.list_deployments()
        assert self.client.delete_deployment(deployment.id, force=True) == {}
        self.settled()

    def waiting_item(self):
        # A queue item's `role` is Marathon's since 1.9; this client was never told.
        items = requests.get(f"{self.url}/v2/queue?embed=lastUnusedOffers", timeout=10).json()["queue"]
        items = [MarathonQueueItem.from_json({k: v for k, v in item.items() if k != "role"}) for item in items]
        rejected = [i for i in items if i.processed_offers_summary["unusedOffersCount"]]
        return rejected[0] if rejected else None

    def groups(self):
        group = self.client.get_group("/py")
        assert group.id == "/py" and {app.id for app in group.apps} == {WEB, STUCK}
        assert [group.id for group in self.client.list_groups()] == ["/py"]

    def remove(self):
        assert self.client.delete_app(WEB)["deploymentId"]
        self.client.delete_group("/py", force=True)
        self.settled()
        assert self.client.list_apps() == [] and self.client.list_tasks() == []

    def heard(self):
        expected = {
            "event_stream_attached", "api_post_event", "status_update_event", "instance_changed_event",
            "instance_health_changed_event", "health_status_changed_event", "add_health_check_event",
            "remove_health_check_event", "group_change_success", "deployment_info", "deployment_success",
            "deployment_step_success", "deployment_failed", "app_terminated_event",
        }
        wait(f"all of {sorted(expected)}", lambda: expected <= self.events.kinds())
        ended = {e.app_id for e in self.events.seen if e.event_type == "app_terminated_event"}
        assert ended == {WEB, STUCK}, ended

    def run(self):
        self.events.start()
        wait("the stream", lambda: "event_stream_attached" in self.events.kinds())
        for step in [self.about_the_master, self.create, self.read, self.change, self.kill,
                     self.wait_in_the_queue, self.groups, self.remove, self.heard]:
            began = time.monotonic()
            step()
            print(f"ok {step.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        print(f"{len(self.events.seen)} events of {len(self.events.kinds())} types")


if __name__ == "__main__":
    marathon.log.setLevel("CRITICAL")  # refusals are asked for here
    Walk(sys.argv[1]).run()
