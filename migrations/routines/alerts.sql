-- version: 2
--
-- Alerts with what operators have said of them.

-- quiet: why an open alert does not count in the verdict. An acknowledgement is of the level that the alert had: worse
-- is new. A mute of what stands for many streams covers the same condition of each of them. clearing: nothing is wrong
-- any more, and it is shown for its time only.
CREATE OR REPLACE VIEW answered_alerts AS
SELECT alert.trouble_id, alert.signal, alert.subject_kind, alert.subject_id, alert.stream_id, alert.title, alert.level,
       alert.reason, alert.advice, alert.since, alert.ended_at,
       acknowledged.acknowledged_by, acknowledged.acknowledged_at, acknowledged.reason AS acknowledged_because,
       muted.muted_by, muted.muted_at, muted.muted_until, muted.reason AS muted_because,
       CASE WHEN alert.ended_at IS NOT NULL THEN NULL
            WHEN muted.muted_by IS NOT NULL THEN 'muted'
            WHEN acknowledged.acknowledged_by IS NOT NULL THEN 'acknowledged'
            WHEN alert.calm_at IS NOT NULL THEN 'clearing' END AS quiet,
       -- One that the release before has begun has none until it is looked at again.
       coalesce(alert.cause, concat_ws(':', alert.signal, alert.subject_kind, alert.subject_id)) AS cause,
       alert.eased_at
FROM troubles AS alert
LEFT JOIN alert_acknowledgements AS acknowledged
    ON acknowledged.alert_id = alert.trouble_id
   AND (alert.ended_at IS NOT NULL OR acknowledged.level = 'act' OR alert.level <> 'act')
LEFT JOIN LATERAL (
    SELECT mute.muted_by, mute.muted_at, mute.muted_until, mute.reason
    FROM alert_mutes AS mute
    WHERE mute.signal = alert.signal AND mute.muted_until > now()
      AND (mute.subject_kind = alert.subject_kind AND mute.subject_id = alert.subject_id
               AND (mute.stream_id IS NULL OR mute.stream_id = alert.stream_id)
           OR mute.subject_kind = 'forwarder' AND alert.subject_kind = 'stream'
               AND EXISTS (SELECT FROM streams
                           WHERE streams.stream_id = alert.stream_id AND streams.forwarder_id = mute.subject_id))
    ORDER BY mute.muted_until DESC
    LIMIT 1
) AS muted ON true;
