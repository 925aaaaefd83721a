"""Whether a held source was left wholly in maintenance, and how often its escrow was written anew."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name in ("verified", "revision"):
        op.add_column("snapshot", sa.Column(name, sa.Integer(), server_default="0", nullable=False))
    op.execute(
        "UPDATE snapshot SET verified = 1 "
        "WHERE entered_at IS NOT NULL AND restored_at IS NULL AND released_at IS NULL"
    )
