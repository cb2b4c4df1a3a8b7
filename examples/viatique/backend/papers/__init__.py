"""Exams, pupils' scanned copies, and what teachers write on them."""
