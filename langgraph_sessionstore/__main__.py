"""`python -m langgraph_sessionstore`: the command `sessionstore`."""

from .cli import main

if __name__ == "__main__":
    main()
