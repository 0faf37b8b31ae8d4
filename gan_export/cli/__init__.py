"""The four commands: parse, one library call, print.  Nothing else prints or exits."""
