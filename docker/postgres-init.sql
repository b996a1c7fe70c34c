-- Runs once, when the data folder is made. Airflow's own database is the one that the image makes.
CREATE DATABASE journal;
CREATE DATABASE vectors;
CREATE DATABASE pinecone;
\connect journal
CREATE EXTENSION vector;
\connect vectors
CREATE EXTENSION vector;
\connect pinecone
CREATE EXTENSION vector;
