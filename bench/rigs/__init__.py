"""What several races and tests run against: boards and lines of a process, engines, processes that are measured."""
