"""The command line: thin click commands over the library.

``main.py`` lists the commands; each is a module of the same name.
"""
