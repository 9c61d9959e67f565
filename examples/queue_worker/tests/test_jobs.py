"""The queue: leases, acknowledgement, dead letters."""

from __future__ import annotations

ID, BODY = "a", b"1"


def test_a_job_is_received_by_one_worker(open_queue):
    one, two = open_queue(), open_queue()
    one.add(ID, BODY)
    (job,) = one.receive(10, lease=60)
    assert (job.id, job.body, job.tries) == (ID, BODY, 1)
    assert two.receive(10, lease=60) == []


def test_a_job_whose_lease_has_ended_is_received_again(open_queue):
    one, two = open_queue(), open_queue()
    one.add(ID, BODY)
    (stale,) = one.receive(1, lease=-1)
    (job,) = two.receive(1, lease=60)
    assert job.tries == 2
    one.give_back(stale)
    one.bury(stale, "wrong")
    one.try_later(stale, 0)
    assert one.receive(1, lease=60) == [], "it belongs to the other worker"
    assert one.dead_letters() == {}


def test_a_result_is_stored_and_its_job_is_gone(queue):
    queue.add(ID, BODY)
    queue.complete(queue.receive(1, lease=60)[0], {"digit": 3})
    assert queue.results() == {ID: {"digit": 3}}
    assert queue.waiting() == {}


def test_a_job_that_is_given_back_counts_as_never_received(queue):
    queue.add(ID, BODY)
    queue.give_back(queue.receive(1, lease=60)[0])
    assert queue.waiting() == {ID: 0}
    assert len(queue.receive(1, lease=60)) == 1


def test_a_job_that_is_tried_later_waits(queue):
    queue.add(ID, BODY)
    queue.try_later(queue.receive(1, lease=60)[0], 60)
    assert queue.receive(1, lease=60) == []
    assert queue.waiting() == {ID: 1}


def test_a_job_that_was_tried_before_comes_alone(queue):
    for name in "abcd":
        queue.add(name, BODY)
    queue.receive(1, lease=-1)
    assert [job.id for job in queue.receive(9, lease=60)] == ["a"]
    assert [job.id for job in queue.receive(9, lease=60)] == ["b", "c", "d"]


def test_a_late_result_takes_the_job_from_the_dead_letters(open_queue):
    one, two = open_queue(), open_queue()
    one.add(ID, BODY)
    (stale,) = one.receive(1, lease=-1)
    two.bury(two.receive(1, lease=60)[0], "given up after 2 tries")
    one.complete(stale, {"digit": 3})
    assert (one.results(), one.dead_letters()) == ({ID: {"digit": 3}}, {})
    two.revive()
    assert two.waiting() == {}


def test_dead_letters_come_back_when_they_are_revived(queue):
    queue.add(ID, BODY)
    queue.bury(queue.receive(1, lease=60)[0], "the model has changed")
    assert queue.dead_letters() == {ID: "the model has changed"}
    assert queue.waiting() == {}
    queue.revive()
    assert queue.dead_letters() == {}
    assert queue.waiting() == {ID: 0}
