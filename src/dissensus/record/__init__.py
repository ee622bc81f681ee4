"""Recording: a tracked set's losses at tracking points, in any training loop, into a curves store.

Public, and documented in docs/trainers.md: `recorder.CurveRecorder`; the probes `probes.labels.LabelProbe`,
`probes.completions.CompletionProbe`, `probes.preferences.PreferenceProbe` with the interface `probes.base.Probe`;
`schedule.tracking_steps`; `observers.Watcher`; `free.FreeRecorder`. Everything else serves these and may change.
"""
