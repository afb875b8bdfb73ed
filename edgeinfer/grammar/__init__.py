"""What an answer has to look like: grammars, and the process that compiles and checks them."""
