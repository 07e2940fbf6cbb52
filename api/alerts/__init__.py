"""What is amber or red: rules say what is the case, the engine what becomes of it, the evaluator looks."""
