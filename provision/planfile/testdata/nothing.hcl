service = "x"
