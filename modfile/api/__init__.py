"""The functions of `import modfile`: each finds its surroundings as the command line does, unless it is given them."""
