"""How parts and models enter the zoo: hook, host and registry. Nothing here imports torch."""
