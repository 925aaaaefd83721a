"""What is asked of years is answered from an index: sources by any name, occurrences of old rules."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "alias",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("source_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", "source_id"),
    )
    op.create_index("alias_source", "alias", ["source_id"], unique=False)
    op.execute(
        "INSERT INTO alias (name, source_id) SELECT name, source_id FROM observation UNION "
        "SELECT json_extract(body, '$.name'), source_id FROM journal WHERE kind = 'seen'"
    )
    op.drop_index("window_over", "window")
    op.create_index("window_over", "window", ["over_at", "starts_local"], unique=False)
    op.create_index("occurrence_opens", "occurrence", ["window_id", "opens_at"], unique=False)
    op.create_index("window_source_name", "window_source", ["source_name"], unique=False)
    op.create_index("snapshot_name", "snapshot", ["source_name"], unique=False)
    op.create_index("finding_source", "finding", ["source_id", "since"], unique=False)
    op.create_index("finding_name", "finding", ["source_name"], unique=False)
