"""Three questions of a post-mortem in SQL: the same text answers here, in Datasette, and in sqlite3 on an exported file."""

from __future__ import annotations

QUESTIONS = {
    "hottest_gpu": (
        "Which GPU was hottest in the last 20 minutes that were recorded",
        "select node, gpu, max(temp_c) as temp_c, time from gpu_samples\n"
        "where at > (select max(at) from fleet_samples) - 1200\n"
        "group by node, gpu order by temp_c desc limit 5",
    ),
    "energy_by_site": (
        "How much energy the GPUs of each site drew an hour",
        "select site, strftime('%Y-%m-%d %H:00', time) as hour, round(sum(power_w) / 3.6e6, 3) as kwh\n"
        "from site_samples group by site, hour order by hour, site",
    ),
    "before_the_peak": (
        "Which actions came before the queue was longest",
        "select time, actor, subject, text from events\n"
        "where kind = 'action' and at <= (select at from fleet_samples order by queue_depth desc limit 1)\n"
        "order by at desc limit 5",
    ),
}
"""Title and query by name."""
