"""The table of all routes; what each takes and gives stands at its handler (http/contract.py)."""

from api.alerts import routes as alerts
from api.announcer import routes as announcer
from api.certificate import routes as certificate
from api.clocks import routes as clocks
from api.commands import routes as commands
from api.crossings import routes as crossings
from api.devices import routes as devices
from api.events import routes as events
from api.exports import routes as exports
from api.flow import routes as flow
from api.http import routes as http
from api.http.contract import Route
from api.http.errors import Code
from api.lags import routes as lags
from api.links import routes as links
from api.live import routes as live
from api.logs import routes as logs
from api.notices import routes as notices
from api.races import course_routes as course
from api.races import mapping_routes as mappings
from api.races import routes as races
from api.readers import routes as readers
from api.reconcile import routes as reconcile
from api.search import routes as search
from api.segments import routes as segments
from api.streams import routes as streams
from api.tokens import routes as tokens
from api.ups import routes as ups

__all__ = ["ROUTES"]

_STREAM = "/api/v1/streams/{stream_id}"
_FORWARDER = "/api/v1/forwarders/{forwarder_id}"
_ALERT = "/api/v1/alerts/{alert_id}"
_READER = _FORWARDER + "/readers/{reader_ip}"
_RACE = "/api/v1/races/{race_id}"
_ANNOUNCER = "/api/v1/announcer"
_CURSORS = "/api/v1/receivers/{receiver_id}/cursors"

# What anything may answer that a forwarder is asked for.
_RELAYED: tuple[Code, ...] = ("NOT_FOUND", "CONFLICT", "FORWARDER_ERROR", "TIMEOUT")

ROUTES = (
    Route("GET", "/api/v1/streams", streams.list_streams),
    Route("PATCH", _STREAM, streams.patch_stream, errors=("NOT_FOUND", "CONFLICT")),
    Route("DELETE", _STREAM, streams.delete_stream, status=204, errors=("NOT_FOUND", "CONFLICT")),
    Route("GET", _STREAM + "/card", live.stream_card, errors=("NOT_FOUND",)),
    Route("GET", _STREAM + "/metrics", streams.stream_metrics, errors=("NOT_FOUND",)),
    Route("GET", _STREAM + "/sequence", streams.sequence_map, errors=("NOT_FOUND",), tagged=True),
    Route("GET", _STREAM + "/epochs", streams.list_epochs, errors=("NOT_FOUND",)),
    Route("PUT", _STREAM + "/epochs/{epoch}/name", streams.name_epoch, errors=("NOT_FOUND", "CONFLICT")),
    Route("POST", _STREAM + "/reconcile", reconcile.reconcile, errors=("NOT_FOUND", "CONFLICT")),
    Route("GET", _STREAM + "/reads", events.list_reads, errors=("NOT_FOUND",)),
    Route("GET", _FORWARDER + "/reads", events.list_forwarder_reads),
    Route(
        "GET", _STREAM + "/export.txt", exports.export_text, errors=("NOT_FOUND",), media_type="text/plain"
    ),
    Route("GET", _STREAM + "/export.csv", exports.export_csv, errors=("NOT_FOUND",), media_type="text/csv"),
    Route(
        "GET",
        _STREAM + "/epochs/{epoch}/export.txt",
        exports.export_epoch_text,
        errors=("NOT_FOUND",),
        media_type="text/plain",
    ),
    Route(
        "GET",
        _STREAM + "/epochs/{epoch}/export.csv",
        exports.export_epoch_csv,
        errors=("NOT_FOUND",),
        media_type="text/csv",
    ),
    Route("GET", "/api/v1/export.zip", exports.export_all, media_type="application/zip"),
    Route("GET", "/api/v1/reads/latest", events.latest_reads),
    Route("GET", "/api/v1/conflicts", events.list_conflicts),
    Route(
        "POST",
        "/api/v1/conflicts/{conflict_id}/acknowledge",
        events.acknowledge_conflict,
        status=204,
        errors=("NOT_FOUND",),
    ),
    Route("POST", _STREAM + "/conflicts/acknowledge", events.acknowledge_conflicts, errors=("NOT_FOUND",)),
    Route("GET", "/api/v1/alerts", live.list_alerts),
    Route("GET", "/api/v1/alerts/notices", notices.list_notices),
    Route("POST", _ALERT + "/acknowledge", alerts.acknowledge_alert, errors=("NOT_FOUND", "CONFLICT")),
    Route(
        "DELETE",
        _ALERT + "/acknowledge",
        alerts.take_back_acknowledgement,
        status=204,
        errors=("NOT_FOUND",),
    ),
    Route("POST", _ALERT + "/mute", alerts.mute_alert, errors=("NOT_FOUND", "CONFLICT")),
    Route("DELETE", _ALERT + "/mute", alerts.take_back_mute, status=204, errors=("NOT_FOUND",)),
    Route("GET", "/api/v1/overview", live.show_overview),
    Route("GET", "/api/v1/verdict", live.show_verdict),
    Route("GET", "/api/v1/events", live.follow_events, media_type="text/event-stream"),
    Route(
        "POST",
        _STREAM + "/reset-epoch",
        commands.reset_epoch,
        errors=("NOT_FOUND", "CONFLICT", "TIMEOUT"),
    ),
    Route("GET", "/api/v1/forwarders", devices.list_forwarders),
    Route("PATCH", _FORWARDER + "/streams", streams.patch_forwarder_streams),
    Route("GET", "/api/v1/clocks", clocks.list_clocks),
    Route("GET", "/api/v1/receiver-lags", lags.list_lags),
    Route("GET", _FORWARDER + "/time-zone", clocks.show_zone, errors=("NOT_FOUND",)),
    Route("PUT", _FORWARDER + "/time-zone", clocks.set_zone, errors=("NOT_FOUND", "CONFLICT")),
    Route(
        "GET",
        _FORWARDER + "/config",
        commands.read_config,
        errors=("NOT_FOUND", "FORWARDER_ERROR", "TIMEOUT"),
    ),
    Route(
        "POST",
        _FORWARDER + "/config/{section}",
        commands.write_config,
        errors=("NOT_FOUND", "CONFLICT", "FORWARDER_ERROR", "TIMEOUT"),
    ),
    Route(
        "POST",
        _FORWARDER + "/restart",
        commands.restart_forwarder,
        errors=("NOT_FOUND", "CONFLICT", "FORWARDER_ERROR", "TIMEOUT"),
    ),
    Route("POST", _FORWARDER + "/control/{action}", commands.control_forwarder, errors=_RELAYED),
    Route("GET", "/api/v1/reader-states", readers.list_reader_states),
    Route("GET", _READER + "/info", readers.read_info, errors=_RELAYED),
    Route("POST", _READER + "/refresh", readers.refresh_reader, errors=_RELAYED),
    Route("POST", _READER + "/sync-clock", readers.sync_clock, errors=_RELAYED),
    Route("PUT", _READER + "/read-mode", readers.set_read_mode, errors=_RELAYED),
    Route("PUT", _READER + "/tto", readers.set_tto, errors=_RELAYED),
    Route("PUT", _READER + "/recording", readers.set_recording, errors=_RELAYED),
    Route("POST", _READER + "/clear-records", readers.clear_records, status=202, errors=_RELAYED),
    Route("POST", _READER + "/start-download", readers.start_download, status=202, errors=_RELAYED),
    Route("POST", _READER + "/stop-download", readers.stop_download, errors=_RELAYED),
    Route("POST", _READER + "/reconnect", readers.reconnect_reader, errors=_RELAYED),
    Route("GET", "/api/v1/forwarder-ups", ups.list_ups),
    Route("GET", "/api/v1/receivers", devices.list_receivers),
    Route("GET", _CURSORS, devices.list_cursors),
    Route("DELETE", _CURSORS, devices.delete_cursors, status=204, errors=("NOT_FOUND",)),
    Route(
        "DELETE",
        _CURSORS + "/{stream_id}",
        devices.delete_stream_cursors,
        status=204,
        errors=("NOT_FOUND",),
    ),
    Route("GET", "/api/v1/processes", devices.list_processes),
    Route("GET", "/api/v1/admin/tokens", tokens.list_tokens),
    Route("POST", "/api/v1/admin/tokens", tokens.mint_token, status=201, errors=("CONFLICT",)),
    Route(
        "POST",
        "/api/v1/admin/tokens/{token_id}/revoke",
        tokens.revoke_token,
        status=204,
        errors=("NOT_FOUND",),
    ),
    Route("GET", "/api/v1/races", races.list_races),
    Route("POST", "/api/v1/races", races.create_race, status=201, errors=("CONFLICT",)),
    Route("GET", _RACE, races.show_race, errors=("NOT_FOUND",)),
    Route("PATCH", _RACE, races.patch_race, errors=("NOT_FOUND", "CONFLICT")),
    Route("DELETE", _RACE, races.delete_race, status=204, errors=("NOT_FOUND", "CONFLICT")),
    Route("DELETE", "/api/v1/admin/races", races.delete_all_races, status=204, errors=("CONFLICT",)),
    Route("GET", _RACE + "/participants", races.list_participants, errors=("NOT_FOUND",)),
    Route(
        "POST", _RACE + "/participants/upload", races.import_participants, errors=("NOT_FOUND", "CONFLICT")
    ),
    Route("POST", _RACE + "/chips/upload", races.import_chips, errors=("NOT_FOUND", "CONFLICT")),
    Route("DELETE", _RACE + "/bibs/{bib}", races.remove_participant, status=204, errors=("NOT_FOUND",)),
    Route("GET", _RACE + "/unknown-chips", races.list_unknown_chips, errors=("NOT_FOUND",)),
    Route("GET", _RACE + "/course", course.show_course, errors=("NOT_FOUND",), tagged=True),
    Route("GET", _RACE + "/flow", flow.show_flow, errors=("NOT_FOUND",), tagged=True),
    Route("PUT", _RACE + "/course", course.set_course, errors=("NOT_FOUND", "CONFLICT")),
    Route("PATCH", _RACE + "/points/{place}", course.patch_point, errors=("NOT_FOUND", "CONFLICT")),
    Route("GET", _RACE + "/crossings", crossings.list_crossings, errors=("NOT_FOUND",)),
    Route(
        "GET",
        _RACE + "/crossings.csv",
        exports.export_crossings,
        errors=("NOT_FOUND",),
        media_type="text/csv",
    ),
    Route(
        "GET",
        _RACE + "/crossings/events",
        crossings.follow_crossings,
        errors=("NOT_FOUND",),
        media_type="text/event-stream",
    ),
    Route("GET", _RACE + "/segments", segments.show_segments, errors=("NOT_FOUND",)),
    Route("GET", _RACE + "/segments/{stream_id}/axis", segments.show_axis, errors=("NOT_FOUND",)),
    Route("PUT", _RACE + "/segments/{stream_id}", segments.set_segments, errors=("NOT_FOUND", "CONFLICT")),
    Route(
        "POST",
        _RACE + "/segment-changes/{change_id}/undo",
        segments.undo_segments,
        errors=("NOT_FOUND", "CONFLICT"),
    ),
    Route("GET", _RACE + "/stream-epochs", mappings.list_mappings, errors=("NOT_FOUND",)),
    Route(
        "POST",
        _RACE + "/streams/{stream_id}/epochs/activate-next",
        mappings.activate_next,
        status=204,
        errors=("NOT_FOUND", "CONFLICT", "TIMEOUT"),
    ),
    Route("POST", _RACE + "/begin", mappings.begin_race, errors=("NOT_FOUND", "CONFLICT")),
    Route("GET", "/api/v1/forwarder-races", mappings.list_assignments),
    Route("GET", _FORWARDER + "/race", mappings.show_assignment),
    Route("PUT", _FORWARDER + "/race", mappings.assign_race, errors=("NOT_FOUND", "CONFLICT")),
    Route("PUT", _STREAM + "/epochs/{epoch}/race", mappings.map_epoch, errors=("NOT_FOUND", "CONFLICT")),
    Route(
        "GET",
        "/api/v1/certificate",
        certificate.show_certificate,
        errors=("NOT_FOUND",),
        takes_s=certificate.ANSWER_WITHIN_S,
    ),
    Route("GET", "/api/v1/certificate/key", certificate.show_certificate_keys),
    Route("POST", "/api/v1/search", search.find_people),
    Route("GET", _RACE + "/bibs/{bib}/timeline", search.show_timeline, errors=("NOT_FOUND",)),
    Route("GET", "/api/v1/chips/{chip_id}/timeline", search.show_chip_timeline),
    Route("POST", _RACE + "/bibs/{bib}/link", links.make_person_link, errors=("NOT_FOUND",)),
    Route("POST", "/api/v1/chips/{chip_id}/link", links.make_chip_link),
    Route("DELETE", "/api/v1/links", links.withdraw_links, status=204),
    Route(
        "POST",
        "/api/v1/public/timeline",
        links.show_linked_timeline,
        errors=("NOT_FOUND",),
        most_bytes=links.LONGEST_BODY,
    ),
    Route("GET", _ANNOUNCER + "/config", announcer.show_announcer_config),
    Route("PUT", _ANNOUNCER + "/config", announcer.set_announcer_config, errors=("CONFLICT",)),
    Route("POST", _ANNOUNCER + "/reset", announcer.reset_announcer, status=204),
    Route("GET", _ANNOUNCER + "/state", announcer.show_announcer_state),
    Route("GET", _ANNOUNCER + "/events", announcer.follow_announcer, media_type="text/event-stream"),
    Route("GET", "/api/v1/public/announcer/state", announcer.show_public_announcer_state),
    Route(
        "GET",
        "/api/v1/public/announcer/events",
        announcer.follow_public_announcer,
        media_type="text/event-stream",
    ),
    Route("GET", "/api/v1/logs", logs.list_logs),
    Route("GET", "/api/v1/version", http.show_version),
    Route("GET", "/api/v1/openapi.json", http.show_openapi),
    Route("GET", "/docs", http.show_docs, media_type="text/html"),
)
