"""The mutations: what each breaks, in which module, how, and by which test it is noticed."""

from __future__ import annotations

from typing import Final, NamedTuple


class Mutation(NamedTuple):
    """``old`` stands once in the module ``batch.<module>``, and ``new`` is put there instead. ``test`` is the name of
    the test that fails then, with the parameters of one case if not all of them do."""

    name: str
    module: str
    old: str
    new: str
    test: str


_WRITE_FIRST: Final = """\
        job = await self._services.off_loop(self._results.write, job, fetched.body)
"""

MUTATIONS: Final = (
    # ── Never paid twice ────────────────────────────────────────────────────────────────────────────────────────────
    Mutation(
        "no intent before a submission", "jobs.submitting",
        "        await self._services.record(intent)\n        return await self._answered(intent, job, self._conn",
        "        return await self._answered(intent, job, self._conn",
        "test_killed_at_any_edge_of_any_state_the_next_run_finishes",
    ),
    Mutation(
        "absence is believed without a witness", "jobs.reconciler",
        "return walk.is_complete and (is_witnessed or self.is_old(lost.job))", "return walk.is_complete",
        "test_absence_is_not_believed_without_a_witness",
    ),
    Mutation(
        "a list that lags is believed", "jobs.reconciler",
        "(found, found is None and self._is_absent(ask.lost, walk))", "(found, found is None)",
        "test_late_acceptance_on_a_lagging_list_is_paid_once",
    ),
    Mutation(
        "any later job is a witness", "jobs.reconciler",
        "walk.witness_at >= lost.let_go_at + self._grace_seconds", "walk.witness_at >= lost.let_go_at",
        "test_witness_acknowledged_well_after_the_loss_is_believed",
    ),
    Mutation(
        "the walk ends at the first page with a job of ours", "jobs.reconciler",
        "            if is_complete := self._is_before(page, known, earliest):",
        "            if is_complete := bool(known):",
        "test_submission_is_found_in_unordered_pages_with_repetitions",
    ),
    Mutation(
        "the list's times are taken for UTC", "jobs.reconciler",
        "made - walk.zone_seconds - lost.intent_at", "made - lost.intent_at",
        "test_public_url_transcript_is_matched_in_the_services_zone",
    ),
    Mutation(
        "a lost answer is taken for a refusal", "jobs.submitting",
        "what=what, unanswered=False\n", "what=what\n",
        "test_every_recording_ends_and_nothing_is_submitted_twice",
    ),
    Mutation(
        "what cannot be looked up is submitted again", "jobs.submitting",
        "return await self.find_on_disk(job) or self._give_up_lost()",
        "return await self._services.record(job.move(State.STAGED))",
        "test_what_was_not_answered_is_paid_again_only_if_asked[by-id]",
    ),
    Mutation(
        "another's transcript is taken", "providers.assemblyai.provider",
        "        if head.id != job_id:", "        if not head.id:",
        "test_answer_to_another_request_counts_as_none[another id]",
    ),
    Mutation(
        "a transcript of other audio is taken", "jobs.services",
        '    return "is that of other audio" if differs else ""', '    return ""',
        "test_answer_to_another_request_counts_as_none[other audio]",
    ),
    Mutation(
        "a transcript that has not ended is taken", "jobs.collecting",
        '        return f"is {there.phase}, though it had ended well"', '        return ""',
        "test_answer_to_another_request_counts_as_none[not ended]",
    ),
    Mutation(
        "an excerpt is taken for the whole", "jobs.reconciler",
        "return body is not None and self._provider.matches(body, lost.job.recording.options)",
        "return body is not None",
        "test_whole_public_url_never_gets_transcript_of_an_excerpt",
    ),
    Mutation(
        "a transcript that is too short is not told", "jobs.collecting",
        "if seconds is None or", "if seconds is not None or",
        "test_transcript_of_wrong_length_is_reported_once_and_kept",
    ),
    Mutation(
        "identical audio is not waited for", "jobs.deduplication",
        "while paying := self._paying.get(identity):", "while paying := self._paying.get(b''):",
        "test_1000_rows_of_100_recordings_make_100_submissions",
    ),
    Mutation(
        "twins ignore options", "jobs.deduplication",
        "[job.service, audio, options]", "[job.service, audio]",
        "test_other_options_are_paid_for_apart",
    ),
    Mutation(
        "twins are told by their size", "jobs.deduplication",
        "audio = job.sha256 or", "audio = job.size_bytes or",
        "test_400_recordings_with_100_in_flight_are_each_paid_once",
    ),
    Mutation(
        "what is done is paid again unasked", "jobs.planning.judge",
        "pays_again=judged.decision.pays_again or of_this", "pays_again=False",
        "test_paying_again_is_counted_apart_and_needs_consent",
    ),
    Mutation(
        "a forced pass begins anew each time", "jobs.planning.decision",
        "return (since or 0.0) >= rerun.forced_since", "return False",
        "test_a_forced_pass_that_failed_for_one_is_gone_on_with",
    ),
    Mutation(
        "a result that is gone is paid again", "jobs.planning.decision",
        'Decision(Action.REFETCH, "result missing")', 'Decision(Action.RUN, "result missing")',
        "test_what_changed_runs_again_and_only_that",
    ),
    Mutation(
        "what is done is fetched again", "jobs.planning.decision",
        'return Decision(Action.DONE, "done before") if stored else', "return",
        "test_repeated_command_sends_nothing_to_the_service",
    ),
    Mutation(
        "the bucket is no proof", "jobs.planning.judge",
        'size = known.copies.get(f"{key}.json")', "size = None",
        "test_a_container_that_loses_its_disks_pays_for_nothing_again",
    ),
    Mutation(
        "the directory forgets its service", "jobs.places",
        'if named != "auto" or not known:', 'if named:',
        "test_auto_is_the_service_of_the_directory",
    ),
    Mutation(
        "a lost transcript is paid anew without a last question", "jobs.planning.decision",
        "job.kind in GIVEN_UP", "not job.kind",
        "test_old_id_is_asked_for_once_more_before_paying_anew",
    ),
    Mutation(
        "another key's jobs are asked for with this one", "jobs.services",
        "return None not in (job.key_print, self.key_print) and job.key_print != self.key_print", "return False",
        "test_submission_with_another_key_waits_for_that_key",
    ),
    Mutation(
        "two runs share a directory", "storage.lock",
        "return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "return fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)",
        "test_two_runs_on_one_directory_do_not_meet",
    ),
    # ── Nothing is lost ─────────────────────────────────────────────────────────────────────────────────────────────
    Mutation(
        "a fact before its result", "jobs.collecting",
        _WRITE_FIRST
        + "        self._compare_lengths(job, fetched, await self._services.off_loop(_length_seconds, job))\n"
        '        facts |= {"audio_seconds": fetched.audio_seconds, "ended_at": self._clock()}\n'
        "        return await self._services.record(job.move(State.COLLECTED, **facts))\n",
        '        facts |= {"audio_seconds": fetched.audio_seconds, "ended_at": self._clock()}\n'
        "        done = await self._services.record(job.move(State.COLLECTED, **facts))\n"
        "        await self._services.off_loop(self._results.write, job, fetched.body)\n        return done\n",
        "test_killed_at_any_edge_of_any_state_the_next_run_finishes[collected-after-7]",
    ),
    Mutation(
        "a fact is acknowledged before its commit", "archive.journal",
        '        db.execute("COMMIT")\n    except BaseException:',
        '        len(asks) > 1 and db.execute("COMMIT")\n    except BaseException:',
        "test_what_was_acknowledged_survives_kill_9",
    ),
    Mutation(
        "files are written in place", "storage.files",
        'temporary = path.with_name(f".{path.name}.tmp")', "temporary = path",
        "test_full_disk_stops_the_run_and_keeps_the_old_result",
    ),
    Mutation(
        "what is replaced is not kept", "archive.results",
        "if old is None or old.transcript_id == job.transcript_id:", "if old is None or old.transcript_id:",
        "test_whatever_a_new_result_replaces_is_kept",
    ),
    Mutation(
        "a key goes to another recording", "jobs.planning.decision",
        "if changed and job.state in _TAKEN and identity(", "if changed and not job.state and identity(",
        "test_ordinary_life_costs_no_money_and_no_result",
    ),
    Mutation(
        "a replaced transcript does not serve again", "jobs.planning.judge",
        "        if not self._rerun.force:\n            for old",
        "        if self._rerun.force:\n            for old",
        "test_sixty_nights_of_ordinary_life_cost_what_was_asked_for",
    ),
    Mutation(
        "keys are compared by their bytes", "archive.results",
        'return unicodedata.normalize("NFC", key).casefold() if self._folds else key', "return key",
        "test_keys_are_compared_as_the_disk_compares_them",
    ),
    Mutation(
        "others' files are replaced", "jobs.planning.judge",
        "if there is None and (foreign :=", "if there and (foreign :=",
        "test_files_of_others_are_never_replaced",
    ),
    Mutation(
        "one look is enough to give up a transcript", "jobs.missing",
        "        for part in _LOOKS:", "        for part in ():",
        "test_id_unknown_to_a_lagging_replica_is_paid_once",
    ),
    Mutation(
        "the list is not asked before a transcript is given up", "jobs.missing",
        "if self._capabilities.lists_jobs and await self._is_listed(job):", "if not job.transcript_id:",
        "test_listed_id_is_never_believed_to_be_unknown",
    ),
    Mutation(
        "an effect ends with its run", "jobs.effects",
        "        return await asyncio.shield(task)", "        return await task",
        "test_interrupted_run_reports_what_is_left_and_can_continue[2-130]",
    ),
    Mutation(
        "Ctrl-C is not handed on", "jobs.runner",
        "            work.cancel()\n            await asyncio.wait([work]", "            await asyncio.wait([work]",
        "test_ctrl_c_ends_a_run_of_300_within_10_seconds_without_loss",
    ),
    Mutation(
        "a run begins where a recover was stopped", "archive.journal_files",
        "    if not path.exists() and is_there(path):", "    if not path.exists() and path.is_dir():",
        "test_recovery_killed_at_any_line_remakes_the_same_journal",
    ),
    Mutation(
        "recover makes the new journal in the place of the old one", "archive.recovery",
        "    new = unfinished(path)\n    with _disk_told", "    new = path\n    with _disk_told",
        "test_recovery_on_a_full_disk_changes_nothing",
    ),
    Mutation(
        "a migration is committed in pieces", "archive.migrations",
        '    db.execute("BEGIN IMMEDIATE")\n    for statement in _TABLES:', "    for statement in _TABLES:",
        "test_killed_migration_leaves_the_old_version_or_the_new_one",
    ),
    Mutation(
        "a full disk is taken for a damaged journal", "archive.journal",
        "isinstance(error, sqlite3.OperationalError | OSError)", "isinstance(error, OSError)",
        "test_full_disk_stops_the_run_once_until_there_is_space",
    ),
    Mutation(
        "a full disk is the recording's fault", "storage.disk_errors",
        "    errno.ENOSPC: _SPACE,\n", "",
        "test_full_disk_stops_the_run_and_keeps_the_old_result",
    ),
    # ── Power cuts ──────────────────────────────────────────────────────────────────────────────────────────────────
    Mutation(
        "no directory fsync", "storage.files",
        "        os.fsync(number)\n", "        pass\n",
        "test_run_after_a_power_cut_knows_what_it_paid_and_collected",
    ),
    Mutation(
        "no fsync of results", "storage.files",
        "                os.fsync(file.fileno())\n", "                pass\n",
        "test_run_after_a_power_cut_knows_what_it_paid_and_collected",
    ),
    Mutation(
        "no fsync of new directories' parents", "storage.files",
        "        for each in (folder, *folder.parents):\n            if each in made",
        "        for each in ():\n            if each in made",
        "test_run_after_a_power_cut_knows_what_it_paid_and_collected",
    ),
    Mutation(
        "journal synchronous=OFF", "archive.migrations",
        "synchronous = FULL", "synchronous = OFF",
        "test_run_after_a_power_cut_knows_what_it_paid_and_collected",
    ),
    Mutation(
        "journal synchronous=NORMAL", "archive.migrations",
        "synchronous = FULL", "synchronous = NORMAL",
        "test_run_after_a_power_cut_knows_what_it_paid_and_collected",
    ),
    Mutation(
        "submissions not FULL", "server.store",
        "with _durable(db), _trans", "with _trans",
        "test_after_a_power_cut_the_service_has_what_it_acknowledged",
    ),
    Mutation(
        "uploads not fsynced", "server.uploads",
        "    os.fsync(file)\n", "",
        "test_after_a_power_cut_the_service_has_what_it_acknowledged",
    ),
    Mutation(
        "uploads' names not fsynced", "server.uploads",
        " files.rename(", " Path.rename(",
        "test_after_a_power_cut_the_service_has_what_it_acknowledged",
    ),
    Mutation(
        "names put aside are not fsynced", "archive.recovery",
        " files.rename(old,", " Path.rename(old,",
        "test_after_a_power_cut_recover_goes_on_and_tells_the_same",
    ),
    Mutation(
        "the log is put aside first", "archive.recovery",
        'for suffix in ("", *BESIDE):\n        old', 'for suffix in (*BESIDE, ""):\n        old',
        "test_after_a_power_cut_recover_goes_on_and_tells_the_same",
    ),
    # ── One stops nobody, and all stop once ─────────────────────────────────────────────────────────────────────────
    Mutation(
        "one bad recording ends the run", "jobs.pipeline",
        "except (errors.RecordingError, errors.ExpiredLinkError) as error:",
        "except errors.ExpiredLinkError as error:",
        "test_one_bad_recording_never_stops_the_others",
    ),
    Mutation(
        "an empty account is each recording's trouble", "providers.assemblyai.protocol",
        "FailureKind.NO_FUNDS, errors.InsufficientFundsError, frozenset({400",
        "FailureKind.NO_FUNDS, errors.RecordingError, frozenset({400",
        "test_a_negative_balance_stops_everything_once",
    ),
    Mutation(
        "one stray answer ends the run", "providers.assemblyai.doubt",
        "if self._times >= _TIMES and long_enough and not is_one_transcripts:", "if self._times:",
        "test_a_stray_answer_in_the_middle_is_tried_again",
    ),
    Mutation(
        "a refusal for the number of requests counts against a recording", "jobs.flow_control.throttle",
        "        if isinstance(error, errors.ThrottledError):\n            return False\n", "",
        "test_no_recording_fails_though_most_requests_are_refused",
    ),
    Mutation(
        "an outage counts against each recording", "jobs.flow_control.throttle",
        "(error.kind != _IN_TURN and self.went_well_since(operation, since))", "error.kind != _IN_TURN",
        "test_route_down_for_everybody_stops_the_run_to_be_continued[upload]",
    ),
    Mutation(
        "a store that is away is one object's trouble", "storage.object_stores",
        "errors.UnavailableError,\n        FailureKind.STORE,", "errors.RecordingError,\n        FailureKind.STORE,",
        "test_store_failing_everybody_stops_the_run_once",
    ),
    Mutation(
        "a log reader that leaves ends the run", "cli.streams",
        "    def _lost(self, error: OSError) -> None:\n        pass",
        "    def _lost(self, error: OSError) -> None:\n        raise error",
        "test_a_log_reader_that_leaves_changes_nothing",
    ),
    Mutation(
        "the end waits for threads that read", "cli.streams",
        "    os._exit(code)", "    sys.exit(code)",
        "test_a_run_whose_standard_input_is_silent_can_be_stopped",
    ),
    # ── What is asked of the service, and when ──────────────────────────────────────────────────────────────────────
    Mutation(
        "the last turn before sending is removed", "providers.assemblyai.client",
        "URL(base_url), turn\n", "URL(base_url), _at_once\n",
        "test_retry_after_between_intent_and_request_is_obeyed",
    ),
    Mutation(
        "any Retry-After is waited for", "jobs.flow_control.throttle",
        "if (error.retry_after_seconds or 0.0) > self._longest_pause:", "if self._longest_pause < 0:",
        "test_retry_after_beyond_patience_ends_the_run_with_the_time",
    ),
    Mutation(
        "no ramp", "jobs.flow_control.throttle",
        "while self._ramp and operation is Operation.SUBMIT and (wait",
        "while self._ramp and not operation and (wait",
        "test_submissions_follow_the_ramp",
    ),
    Mutation(
        "no bucket", "jobs.flow_control.rate_limit",
        "        if self.tokens < 1 - 1e-6:\n", "        if self.tokens < 0 - 1e9:\n",
        "test_no_window_sees_more_requests_than_the_rate",
    ),
    Mutation(
        "no pacing", "jobs.flow_control.rate_limit",
        "        if self._got_through == math.inf:\n            return 0.0",
        "        if self._got_through:\n            return 0.0",
        "test_requests_follow_a_limit_of_the_service",
    ),
    Mutation(
        "slots are handed out though the service queues", "jobs.flow_control.concurrency",
        "while not self.held_back and len(self._held)", "while len(self._held)",
        "test_slots_follow_the_services_own_queue",
    ),
    Mutation(
        "submissions on connections that are kept", "providers.assemblyai.client",
        "force_close=True", "force_close=False",
        "test_each_submission_comes_on_a_connection_of_its_own",
    ),
    Mutation(
        "this machine is reached through a proxy", "network.http_client",
        "    if is_loopback(url.host):\n        return None\n", "",
        "test_this_machine_is_never_reached_through_a_proxy",
    ),
    # ── What is told ────────────────────────────────────────────────────────────────────────────────────────────────
    Mutation(
        "what a listing leaves out is not counted", "manifest.left_out",
        "        self._found[why] = (count + 1, examples)", "        self._found[why] = (count, examples)",
        "test_directory_reports_what_it_left_out_and_why",
    ),
    Mutation(
        "a rejected row is not counted", "telemetry.summary",
        "                self.rejected += 1\n", "",
        "test_all_kinds_of_rows_at_once_add_up_in_all_five_places",
    ),
    Mutation(
        "an archive is read with a log beside it", "storage.sqlite",
        '_copied(path, log)\n    return _connected(path, "ro&immutable=1")',
        '_copied(path, log)\n    return _connected(path, "ro")',
        "test_whoever_only_looks_works_on_a_read_only_copy",
    ),
    # ── The local service ───────────────────────────────────────────────────────────────────────────────────────────
    Mutation(
        "what was under way is forgotten", "server.store",
        "WHERE status IN ('queued', 'processing') AND completed IS NULL",
        "WHERE status IN ('queued') AND completed IS NULL",
        "test_killed_at_work_it_does_what_is_left_and_only_that",
    ),
    Mutation(
        "a full disk under the database is a bug", "server.store",
        "in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):", "in (sqlite3.SQLITE_NOMEM,):",
        "test_disk_filled_by_others_stops_the_service_until_freed",
    ),
    Mutation(
        "a worker has no bounds", "server.engine_pool",
        "contextlib.nullcontext() if allowed_seconds is None else sandbox.bounded(allowed_seconds)",
        "contextlib.nullcontext()",
        "test_worker_hanging_outside_python_is_killed_in_time",
    ),
    # ── What strangers can reach, each check by itself ──────────────────────────────────────────────────────────────
    Mutation(
        "addresses inside are reached", "server.outbound",
        "return meant.is_global and not", "return not", "test_what_a_public_address_is",
    ),
    Mutation(
        "groups of machines are reached", "server.outbound",
        " and not meant.is_multicast", "", "test_what_a_public_address_is",
    ),
    Mutation(
        "networks of nobody's are reached", "server.outbound",
        "is_multicast and not own", "is_multicast", "test_what_a_public_address_is",
    ),
    Mutation(
        "an address inside is reached in the clothes of IPv6", "server.outbound",
        "    if any(address in network for network in _CARRIERS):",
        "    if any(address in network for network in ()):",
        "test_what_a_public_address_is",
    ),
    Mutation(
        "an address in a tunnel's name is reached", "server.outbound",
        "    return address.sixtofour or address", "    return address", "test_what_a_public_address_is",
    ),
    Mutation(
        "what is no http is opened", "server.outbound",
        "if url.scheme not in _SCHEMES or not url.host:", "if not url.host:", "test_only_http_is_spoken",
    ),
    Mutation(
        "an address is not judged", "server.outbound",
        "if not self._may(url.host) or (proxied", "if (proxied", "test_an_address_inside_is_not_asked",
    ),
    Mutation(
        "a name is not judged", "server.outbound",
        'if self._may(ipaddress.ip_address(answer["host"]))]', "]",
        "test_a_name_is_judged_by_the_addresses_that_it_has",
    ),
    Mutation(
        "behind a proxy nothing is judged", "server.outbound",
        " or (proxied and not await self._seems_outside(url.host)):", ":",
        "test_inside_address_is_not_asked_for_through_a_proxy",
    ),
    Mutation(
        "a redirect is not judged", "server.download",
        "allow_redirects=False", "allow_redirects=True", "test_a_redirect_leads_nowhere_inside",
    ),
    Mutation(
        "the service of a run keeps the audio", "server.main",
        "            await store.forget_uploads()\n",
        "            pass\n",
        "test_no_copy_of_the_audio_is_left_behind",
    ),
    Mutation(
        "a webhook follows redirects", "server.webhooks",
        "allow_redirects=False", "allow_redirects=True", "test_a_webhook_follows_no_redirect",
    ),
)  # fmt: skip
"""Every row of the table of promises is broken by at least one of them."""
