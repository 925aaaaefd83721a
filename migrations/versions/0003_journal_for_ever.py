"""The journal takes no change but at its end, snapshots stay, and what history asks for has an index."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "journal_seen", "journal", ["source_id", "at"], unique=False, sqlite_where=sa.text("kind = 'seen'")
    )
    op.create_index(
        "journal_window", "journal", ["window_id"], unique=False, sqlite_where=sa.text("source_id IS NULL")
    )
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER journal_no_{change.lower()} BEFORE {change} ON journal "
            "BEGIN SELECT RAISE(ABORT, 'the journal is append-only'); END"
        )
    op.execute(
        "CREATE TRIGGER snapshot_no_delete BEFORE DELETE ON snapshot "
        "BEGIN SELECT RAISE(ABORT, 'a snapshot is never deleted'); END"
    )
    op.execute(
        "INSERT INTO meta (key, value) "
        "SELECT 'journal', seq || ' ' || hash FROM journal ORDER BY seq DESC LIMIT 1"
    )
