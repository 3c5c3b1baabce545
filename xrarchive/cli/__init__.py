"""The commands: parse, one call into `xrarchive.pipeline`, render. The only place that knows click and rich.

main       the group; the one place where errors become words and exit codes
failures   what each kind of error says
options    what several commands share
output     stdout: one JSON object, a table on a terminal, plain text elsewhere
progress   stderr: a bar on a terminal, a line every 30 s elsewhere
the rest   one command each; heavy imports live inside the functions, so that help is instant
"""
