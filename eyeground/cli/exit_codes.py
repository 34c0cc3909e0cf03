"""What a script can tell from the exit code: the kinds of failure that a user can act on."""

BAD_INPUT, FAILED, INTERRUPTED, LOST = 2, 1, 130, 3
# By class name, so that nothing heavy is imported to catch it.
EXIT_CODES = {
    "Interrupted": INTERRUPTED,
    "TrainingFailed": FAILED,
    "ProcessLost": LOST,
    "ProcessFailed": FAILED,
    "EngineLost": FAILED,
    "EngineUnfaithful": FAILED,
    "Unproved": FAILED,
    "CheckpointError": FAILED,
    "FetchFailed": FAILED,
    "DownloadFailed": FAILED,
    "FolderInUse": FAILED,
    "DatabaseLost": FAILED,
    "StoreLost": FAILED,
    "TransportLost": FAILED,
    "Undeliverable": FAILED,
    "BlobMissing": FAILED,
    "AuditBroken": FAILED,
    "PdfFailed": FAILED,
    "NotInTime": FAILED,
    "LoaderLost": FAILED,
    "OutOfMemoryError": FAILED,
    "OSError": FAILED,
    "ShardsUnreachable": FAILED,
    "CopiesFull": FAILED,
    "ClusterUnfit": FAILED,
    "WorkersLost": LOST,
    "ConfigError": BAD_INPUT,
    "DataProblems": BAD_INPUT,
    "DoesNotFit": BAD_INPUT,
    "GpuUnknown": BAD_INPUT,
    "ShardBroken": BAD_INPUT,
    "ImageRefused": BAD_INPUT,
    "WeightsRefused": BAD_INPUT,
    "BundleRefused": BAD_INPUT,
    "RuntimeMissing": BAD_INPUT,
    "PatientsUnknown": BAD_INPUT,
    "SettingsRefused": BAD_INPUT,
    "SchemaRefused": BAD_INPUT,
    "RulesRefused": BAD_INPUT,
    "AccountRefused": BAD_INPUT,
    "NoSuchCase": BAD_INPUT,
    "NoSuchLetter": BAD_INPUT,
    "Refused": BAD_INPUT,
    "OpinionRefused": BAD_INPUT,
    "NotSigned": BAD_INPUT,
    "FontMissing": BAD_INPUT,
    "Forbidden": BAD_INPUT,
    "Stale": BAD_INPUT,
    "BackupRefused": BAD_INPUT,
    "ExportRefused": BAD_INPUT,
    "FileExistsError": BAD_INPUT,
    "FileNotFoundError": BAD_INPUT,
}


def kind_of(error: BaseException) -> str | None:
    """Find the kind of an expected failure.

    Args:
        error: What was raised.

    Returns:
        A key of ``EXIT_CODES``, the nearest one; None for a fault of ours.

    Example:
        >>> kind_of(FileNotFoundError()), kind_of(PermissionError()), kind_of(KeyError())
        ('FileNotFoundError', 'OSError', None)

    References:
        docs/run.md for the exit codes.
    """
    # The processor's memory: torch's words for it have no class of their own.
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "can't allocate memory" in str(error)):
        return "OutOfMemoryError"
    return next((known.__name__ for known in type(error).__mro__ if known.__name__ in EXIT_CODES), None)
