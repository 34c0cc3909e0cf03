"""eyeground clinic user: who may use it: people with passwords, programs with tokens."""

from pathlib import Path
from typing import Annotated, Literal

import typer


def command(
    deed: Annotated[
        Literal["add", "password", "token", "subject", "revoke", "list"],
        typer.Argument(
            help="add an account; give it another password or token; say its subject; revoke it for good; list all."
        ),
    ],
    name: Annotated[
        str, typer.Argument(help="The account: lower-case letters, digits, . _ -; stands in the audit trail.")
    ] = "",
    role: Annotated[
        Literal["", "doctor", "operator", "admin", "site"],
        typer.Option(help="What it may do; site is a program's: it gets a token, and no password."),
    ] = "",
    title: Annotated[str, typer.Option(help="Name that stands on reports, such as 'Dr Li'.")] = "",
    site: Annotated[str, typer.Option(help="The one site it is for; none = all.")] = "",
    subject: Annotated[
        str, typer.Option(help="Who it is at the provider of single sign-on: its issuer, a space, its subject there.")
    ] = "",
    password_stdin: Annotated[
        bool,
        typer.Option("--password-stdin", help="Read the password, one line, from stdin; none = one is made and shown."),
    ] = False,
    config: Annotated[
        Path | None,
        typer.Option(help="TOML file of settings; none = EYEGROUND_CLINIC_CONFIG, or the environment alone."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="End with one JSON line for programs.")] = False,
) -> None:
    """Make accounts and look after them; a password or token that is made is shown this once, and kept nowhere."""
    import sys

    from eyeground.cli import clinic_people as people
    from eyeground.cli.clinic_opening import opened, settings_of
    from eyeground.cli.config import ConfigError
    from eyeground.cli.console import answer, tell

    wrong = [] if bool(name) == (deed != "list") else ["list takes no name" if name else f"{deed} needs a name"]
    if deed == "add" and not role:
        wrong.append("say --role doctor, operator, admin or site")
    if deed != "add" and (role or title or site):
        wrong.append("--role, --title and --site are for add alone")
    if (deed == "subject" and not subject) or (subject and deed not in ("add", "subject")):
        wrong.append("--subject is for add and subject")
    if password_stdin and deed not in ("add", "password"):
        wrong.append("--password-stdin is for add and password")
    if wrong:
        raise ConfigError("; ".join(wrong))
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else ""
    if password_stdin and not password:
        raise ConfigError("--password-stdin: nothing came")
    with opened(settings_of(config)) as service:
        if deed == "list":
            found = people.list_people(service)
            for each in found:
                tell("  ".join(str(each[key]) for key in ("account", "role", "title", "site", "revoked_at")).rstrip())
            answer({"accounts": found}, as_json=as_json, last_line=f"accounts: {len(found)}")
            return
        shown = people.Shown()
        if deed == "add":
            wanted = people.NewAccount(name, role, title, site, subject, password)  # type: ignore[arg-type] # not ""
            shown = people.add_person(service, wanted)
        elif deed == "password":
            shown = people.give_password(service, name, password)
        elif deed == "token":
            shown = people.give_token(service, name)
        elif deed == "subject":
            people.give_subject(service, name, subject)
        else:
            people.take_rights(service, name)
    if shown.kind:
        tell(f"{name}: the {shown.kind} is shown this once")
    told = {"account": name, "password": shown.password or None, "token": shown.token or None}
    answer(told | {"revoked": deed == "revoke"}, as_json=as_json, last_line=shown.secret or f"{deed}: {name}")
