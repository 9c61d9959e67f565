"""What a server's own metrics page reports for a stage."""
