"""What people carry from machine to machine: invite codes, and three words that stand for one. Pure."""
