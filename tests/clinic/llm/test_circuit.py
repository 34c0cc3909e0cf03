"""A service that fails is left alone, and tried again by one."""

from eyeground.clinic.llm.circuit import Circuit


def test_three_failures_in_a_row_open_it_for_a_minute() -> None:
    clock = [0.0]
    circuit = Circuit(clock=lambda: clock[0])
    for _ in range(2):
        circuit.failed()
    circuit.worked()
    for _ in range(3):
        assert circuit.closed()
        circuit.failed()
    assert not circuit.closed()
    clock[0] = 59.9
    assert not circuit.closed()
    clock[0] = 60.1
    assert circuit.closed()
    assert not circuit.closed()  # one tries, the others wait for what becomes of it
    circuit.worked()
    assert circuit.closed()
    assert circuit.closed()


def test_who_tries_and_fails_begins_the_rest_anew() -> None:
    clock = [0.0]
    circuit = Circuit(most=1, rest_s=10.0, clock=lambda: clock[0])
    circuit.failed()
    clock[0] = 11.0
    assert circuit.closed()
    clock[0] = 12.0
    circuit.failed()
    clock[0] = 21.0
    assert not circuit.closed()
